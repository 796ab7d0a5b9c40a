//! Every key of `server.properties`, broker, topic and group, in one table.
