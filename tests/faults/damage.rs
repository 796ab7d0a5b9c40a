//! Flipped, cut, zeroed and missing bytes in every kind of file.
