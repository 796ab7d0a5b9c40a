//! The classic group protocol and committed offsets: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
//! OffsetCommit, OffsetFetch, OffsetDelete, ListGroups, DescribeGroups, DeleteGroups.

use super::script::{Session, api, hex, step};
use serde_json::{Value, json};

const NO_SUCH_ID: &str = "AAAAAAAAAAAAAAAAAAAAEQ";

pub fn script(session: &mut Session) {
    let topics = [json!({"name": "orders", "numPartitions": 3, "replicationFactor": 1})];
    session.run(
        step("CreateTopics", api::CREATE_TOPICS, json!({"topics": topics, "timeoutMs": 30000})).latest(),
    );
    session.wait_for_topic("orders", 3);
    coordinators(session);
    life(session);
    two_members(session);
    static_members(session);
    join_errors(session);
    commits(session);
    listing(session);
    deleting(session);
}

fn coordinators(session: &mut Session) {
    let old = |key: &str, kind: i8| json!({"key": key, "keyType": kind});
    let new = |keys: &[&str], kind: i8| json!({"coordinatorKeys": keys, "keyType": kind});
    session.run(step("FindCoordinator", api::FIND_COORDINATOR, old("g", 0)).versions(0, 3));
    session.run(step("FindCoordinator", api::FIND_COORDINATOR, new(&["g", "h"], 0)).versions(4, 6));
    session.run(step("FindCoordinator, empty", api::FIND_COORDINATOR, old("", 0)).versions(0, 3));
    session.run(step("FindCoordinator, empty", api::FIND_COORDINATOR, new(&["", "g"], 0)).versions(4, 6));
    session.run(step("FindCoordinator, none", api::FIND_COORDINATOR, new(&[], 0)).versions(4, 6));
    session.run(step("FindCoordinator, bad type", api::FIND_COORDINATOR, old("g", 9)).versions(1, 3));
    session.run(step("FindCoordinator, bad type", api::FIND_COORDINATOR, new(&["g"], 9)).versions(4, 6));
}

fn joining(group: &str, member: Value, protocols: &[(&str, &[u8])]) -> Value {
    let protocols: Vec<Value> =
        protocols.iter().map(|(name, data)| json!({"name": name, "metadata": hex(data)})).collect();
    json!({
        "groupId": group, "sessionTimeoutMs": 30000, "rebalanceTimeoutMs": 30000, "memberId": member,
        "protocolType": "consumer", "protocols": protocols,
    })
}

/// Version 0 of the consumer protocol's subscription: to `orders`, without user data.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff";
/// The same with user data.
const OTHER: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x04data";
/// Version 0 of its assignment: `orders` 0.
const ASSIGNMENT: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
/// `orders` 1.
const OTHER_ASSIGNMENT: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff";

const PROTOCOLS: &[(&str, &[u8])] = &[("range", SUBSCRIPTION), ("roundrobin", OTHER)];

/// One member from joining to leaving, in every version of JoinGroup and with the other requests at their latest.
fn life(session: &mut Session) {
    let join = api::JOIN_GROUP;
    session.run_each_version(join, 0, || {
        let syncing = |generation: Value, member: Value| {
            json!({"groupId": "life", "generationId": generation, "memberId": member, "protocolType": "consumer",
                "protocolName": "range", "assignments": [{"memberId": member, "assignment": hex(ASSIGNMENT)}]})
        };
        let beating = |generation: Value, member: Value| {
            json!({"groupId": "life", "generationId": generation, "memberId": member})
        };
        vec![
            // From version 4 on a first request only gets a member id.
            step("JoinGroup, first", join, joining("life", json!(""), PROTOCOLS)).save("m", "/memberId"),
            step("JoinGroup", join, joining("life", json!("$m"), PROTOCOLS)).save("gen", "/generationId"),
            step("SyncGroup", api::SYNC_GROUP, syncing(json!("$gen"), json!("$m"))),
            step("SyncGroup, again", api::SYNC_GROUP, syncing(json!("$gen"), json!("$m"))),
            step("Heartbeat", api::HEARTBEAT, beating(json!("$gen"), json!("$m"))),
            step("DescribeGroups", api::DESCRIBE_GROUPS, json!({"groups": ["life"], "includeAuthorizedOperations": true})),
            step("JoinGroup, again", join, joining("life", json!("$m"), PROTOCOLS)),
            step("Heartbeat, rebalancing or stable", api::HEARTBEAT, beating(json!("$gen"), json!("$m"))),
            step("LeaveGroup", api::LEAVE_GROUP, json!({"groupId": "life", "members": [{"memberId": "$m"}]})),
            step("DescribeGroups, empty", api::DESCRIBE_GROUPS, json!({"groups": ["life"]})),
        ]
    });
    // The other requests in each of their versions, against one stable member.
    session.run(
        step("JoinGroup, first", join, joining("steady", json!(""), PROTOCOLS))
            .latest()
            .save("m", "/memberId"),
    );
    let body = joining("steady", json!("$m"), PROTOCOLS);
    session.run(step("JoinGroup", join, body).latest().save("gen", "/generationId"));
    let sync = |generation: Value, member: Value, protocol: &str| {
        json!({"groupId": "steady", "generationId": generation, "memberId": member, "protocolType": "consumer",
            "protocolName": protocol, "assignments": [{"memberId": member, "assignment": hex(ASSIGNMENT)}]})
    };
    session.run(step("SyncGroup", api::SYNC_GROUP, sync(json!("$gen"), json!("$m"), "range")));
    session.run(step(
        "SyncGroup, other protocol",
        api::SYNC_GROUP,
        sync(json!("$gen"), json!("$m"), "sticky"),
    ));
    session.run(step("SyncGroup, old generation", api::SYNC_GROUP, sync(json!(0), json!("$m"), "range")));
    session.run(step("SyncGroup, unknown member", api::SYNC_GROUP, sync(json!("$gen"), json!("x"), "range")));
    session.run(step("SyncGroup, no member", api::SYNC_GROUP, sync(json!("$gen"), json!(""), "range")));
    for (group, generation, member) in [
        ("steady", json!("$gen"), json!("$m")),
        ("steady", json!(77), json!("$m")),
        ("steady", json!(-1), json!("$m")),
        ("steady", json!("$gen"), json!("x")),
        ("steady", json!("$gen"), json!("")),
        ("absent", json!(1), json!("x")),
        ("", json!(1), json!("x")),
    ] {
        let body = json!({"groupId": group, "generationId": generation, "memberId": member});
        session.run(step("Heartbeat", api::HEARTBEAT, body));
    }
    for groups in
        [&["steady"][..], &["absent"], &["steady", "absent", "life"], &[""], &[], &["steady", "steady"]]
    {
        let body = json!({"groups": groups});
        session.run(step("DescribeGroups", api::DESCRIBE_GROUPS, body.clone()));
        let mut operations = body;
        operations["includeAuthorizedOperations"] = json!(true);
        session.run(step("DescribeGroups, operations", api::DESCRIBE_GROUPS, operations).versions(3, 6));
    }
    for (group, member) in
        [("steady", json!("x")), ("absent", json!("x")), ("", json!("x")), ("steady", json!(""))]
    {
        let body = json!({"groupId": group, "memberId": member, "members": [{"memberId": member}]});
        session.run(step("LeaveGroup, bad", api::LEAVE_GROUP, body));
    }
    session.run(
        step("LeaveGroup, nobody", api::LEAVE_GROUP, json!({"groupId": "steady", "members": []}))
            .versions(3, 5),
    );
    let body = json!({"groupId": "steady", "memberId": "$m", "members": [{"memberId": "$m", "reason": "done"}, {"memberId": "x"}]});
    session.run(step("LeaveGroup", api::LEAVE_GROUP, body.clone()));
    session.run(step("LeaveGroup, again", api::LEAVE_GROUP, body));
}

/// A second member joins: the first one's heartbeat says so, both join again, the leader assigns.
fn two_members(session: &mut Session) {
    let join = api::JOIN_GROUP;
    let (one, two) = ("one", "two");
    session.run(
        step("JoinGroup, one", join, joining("pair", json!(""), PROTOCOLS))
            .latest()
            .on(one)
            .save("m1", "/memberId"),
    );
    session.run(
        step("JoinGroup, one", join, joining("pair", json!("$m1"), PROTOCOLS))
            .latest()
            .on(one)
            .save("g1", "/generationId"),
    );
    let sync = |generation: &str, me: &str, assignments: Value| {
        json!({"groupId": "pair", "generationId": generation, "memberId": me, "protocolType": "consumer",
            "protocolName": "roundrobin", "assignments": assignments})
    };
    let mut first = sync("$g1", "$m1", json!([{"memberId": "$m1", "assignment": hex(ASSIGNMENT)}]));
    first["protocolName"] = json!("range");
    session.run(step("SyncGroup, one", api::SYNC_GROUP, first).latest().on(one));
    let second: &[(&str, &[u8])] = &[("roundrobin", SUBSCRIPTION), ("sticky", OTHER)];
    session.run(
        step("JoinGroup, two", join, joining("pair", json!(""), second))
            .latest()
            .on(two)
            .save("m2", "/memberId"),
    );
    let join_two = step("JoinGroup, two", join, joining("pair", json!("$m2"), second))
        .on(two)
        .save("g2", "/generationId");
    session.send(&join_two);
    let beat = json!({"groupId": "pair", "generationId": "$g1", "memberId": "$m1"});
    session.run(step("Heartbeat while rebalancing", api::HEARTBEAT, beat.clone()).on(one).settles());
    let described = step("DescribeGroups, rebalancing", api::DESCRIBE_GROUPS, json!({"groups": ["pair"]}));
    session.run(described.settles());
    session.run(
        step("JoinGroup, one again", join, joining("pair", json!("$m1"), PROTOCOLS))
            .latest()
            .on(one)
            .save("g2", "/generationId"),
    );
    session.receive(&join_two);
    // The follower waits for the leader's assignment.
    let sync_two = step("SyncGroup, two", api::SYNC_GROUP, sync("$g2", "$m2", json!([]))).on(two);
    session.send(&sync_two);
    let both = json!([{"memberId": "$m1", "assignment": hex(ASSIGNMENT)}, {"memberId": "$m2", "assignment": hex(OTHER_ASSIGNMENT)}]);
    session.run(step("SyncGroup, one", api::SYNC_GROUP, sync("$g2", "$m1", both)).latest().on(one));
    session.receive(&sync_two);
    session.run(step("DescribeGroups, stable", api::DESCRIBE_GROUPS, json!({"groups": ["pair"]})));
    session.run(step("Heartbeat, old generation", api::HEARTBEAT, beat).on(one));
    let leave = json!({"groupId": "pair", "memberId": "$m2", "members": [{"memberId": "$m2"}]});
    session.run(step("LeaveGroup, two", api::LEAVE_GROUP, leave).latest().on(two));
    let beat = json!({"groupId": "pair", "generationId": "$g2", "memberId": "$m1"});
    session.run(step("Heartbeat after the other left", api::HEARTBEAT, beat).on(one));
}

fn static_members(session: &mut Session) {
    let join = api::JOIN_GROUP;
    let with = |mut body: Value, instance: &str| {
        body["groupInstanceId"] = json!(instance);
        body
    };
    session.run(
        step("JoinGroup, static", join, with(joining("fixed", json!(""), PROTOCOLS), "i1"))
            .latest()
            .save("s1", "/memberId")
            .save("sg", "/generationId"),
    );
    let sync = |member: &str| {
        with(
            json!({"groupId": "fixed", "generationId": "$sg", "memberId": member, "protocolType": "consumer",
                "protocolName": "range", "assignments": [{"memberId": member, "assignment": hex(ASSIGNMENT)}]}),
            "i1",
        )
    };
    session.run(step("SyncGroup, static", api::SYNC_GROUP, sync("$s1")).versions(3, 5));
    // It comes back under the same instance id: a new member id, no new generation, the old one is fenced.
    let back = with(joining("fixed", json!(""), PROTOCOLS), "i1");
    session.run(
        step("JoinGroup, static returns", join, back)
            .latest()
            .save("s2", "/memberId")
            .save("sg", "/generationId"),
    );
    session.run(step("SyncGroup, static", api::SYNC_GROUP, sync("$s2")).versions(3, 5));
    for member in ["$s1", "$s2", "x"] {
        let beat = with(json!({"groupId": "fixed", "generationId": "$sg", "memberId": member}), "i1");
        session.run(step("Heartbeat, static", api::HEARTBEAT, beat).versions(3, 4));
        session.run(
            step("JoinGroup, fenced", join, with(joining("fixed", json!("$s1"), PROTOCOLS), "i1"))
                .versions(5, 9),
        );
        let commit = with(committing("fixed", json!("$sg"), json!(member), "orders", &[(0, 1, None)]), "i1");
        session.run(step("OffsetCommit, static", api::OFFSET_COMMIT, commit).versions(7, 10));
    }
    let beat = with(json!({"groupId": "fixed", "generationId": "$sg", "memberId": "$s2"}), "i9");
    session.run(step("Heartbeat, unknown instance", api::HEARTBEAT, beat).versions(3, 4));
    session.run(step("DescribeGroups, static", api::DESCRIBE_GROUPS, json!({"groups": ["fixed"]})));
    for members in [
        json!([{"memberId": "$s1", "groupInstanceId": "i1"}]),
        json!([{"memberId": "", "groupInstanceId": "i9"}]),
        json!([{"memberId": "", "groupInstanceId": "i1"}]),
    ] {
        let body = json!({"groupId": "fixed", "members": members});
        session.run(step("LeaveGroup, static", api::LEAVE_GROUP, body).versions(3, 5));
    }
}

fn join_errors(session: &mut Session) {
    let cases: [(&str, Value); 9] = [
        ("groupId", json!("")),
        ("memberId", json!("unknown")),
        ("sessionTimeoutMs", json!(1)),
        ("sessionTimeoutMs", json!(100_000_000)),
        ("sessionTimeoutMs", json!(-1)),
        ("protocols", json!([])),
        ("protocolType", json!("")),
        ("groupInstanceId", json!("")),
        ("groupInstanceId", json!("a/b")),
    ];
    for (number, (key, value)) in cases.into_iter().enumerate() {
        let mut body = joining(&format!("bad-{number}-$v"), json!(""), PROTOCOLS);
        body[key] = value;
        let low = if key == "groupInstanceId" { 5 } else { 0 };
        session.run(step("JoinGroup, bad", api::JOIN_GROUP, body).versions(low, 9));
    }
    // A member with a protocol nobody else has, and one of another type.
    session.run(
        step("JoinGroup", api::JOIN_GROUP, joining("picky", json!(""), PROTOCOLS))
            .latest()
            .save("p", "/memberId"),
    );
    session.run(step("JoinGroup", api::JOIN_GROUP, joining("picky", json!("$p"), PROTOCOLS)).latest());
    let other: &[(&str, &[u8])] = &[("unheard-of", SUBSCRIPTION)];
    session.run(step("JoinGroup, other protocol", api::JOIN_GROUP, joining("picky", json!(""), other)));
    let mut connect = joining("picky", json!(""), PROTOCOLS);
    connect["protocolType"] = json!("connect");
    session.run(step("JoinGroup, other type", api::JOIN_GROUP, connect));
    let leave = json!({"groupId": "picky", "memberId": "$p", "members": [{"memberId": "$p"}]});
    session.run(step("LeaveGroup", api::LEAVE_GROUP, leave).latest());
}

/// An OffsetCommit of (partition, offset, metadata); the topic is named in both ways.
fn committing(
    group: &str,
    generation: Value,
    member: Value,
    topic: &str,
    partitions: &[(i32, i64, Option<&str>)],
) -> Value {
    let id = if topic == "orders" { json!("$orders.id") } else { json!(NO_SUCH_ID) };
    let partitions: Vec<Value> = partitions
        .iter()
        .map(|(p, o, m)| json!({"partitionIndex": p, "committedOffset": o, "committedMetadata": m, "committedLeaderEpoch": 0}))
        .collect();
    json!({"groupId": group, "generationIdOrMemberEpoch": generation, "memberId": member,
        "topics": [{"name": topic, "topicId": id, "partitions": partitions}]})
}

/// An OffsetFetch in the form of every version.
fn fetching(group: &str, topic: &str, partitions: Value) -> Value {
    let id = if topic == "orders" { json!("$orders.id") } else { json!(NO_SUCH_ID) };
    json!({
        "groupId": group, "topics": [{"name": topic, "partitionIndexes": partitions}],
        "groups": [{"groupId": group, "topics": [{"name": topic, "topicId": id, "partitionIndexes": partitions}]}],
    })
}

fn commits(session: &mut Session) {
    let long = "m".repeat(4097);
    let fits = "m".repeat(4096);
    let none = || json!(-1);
    session.run_each_version(api::OFFSET_COMMIT, 0, || {
        let body = committing(
            "committed",
            none(),
            json!(""),
            "orders",
            &[(0, 5, Some("note")), (1, 0, None), (2, 1 << 40, Some(""))],
        );
        vec![
            step("OffsetCommit", api::OFFSET_COMMIT, body),
            step("OffsetFetch", api::OFFSET_FETCH, fetching("committed", "orders", json!([0, 1, 2, 3, -1]))),
        ]
    });
    for (topic, partitions) in [
        ("orders", &[(9, 5, None)][..]),
        ("orders", &[(-1, 5, None)]),
        ("orders", &[(0, -1, None)]),
        ("orders", &[(0, -5, None)]),
        ("orders", &[(0, 6, Some(long.as_str())), (1, 6, Some(fits.as_str()))]),
        ("absent", &[(0, 5, None)]),
        ("orders", &[]),
        ("orders", &[(0, 5, None), (0, 6, None)]),
    ] {
        let body = committing("committed", none(), json!(""), topic, partitions);
        session.run(step("OffsetCommit, odd", api::OFFSET_COMMIT, body));
        session.run(
            step("OffsetFetch", api::OFFSET_FETCH, fetching("committed", "orders", json!([0, 1, 2])))
                .latest(),
        );
    }
    for (group, generation, member) in [
        ("", none(), json!("")),
        ("committed", json!(3), json!("x")),
        ("committed", json!(3), json!("")),
        ("committed", none(), json!("x")),
        ("new-with-generation", json!(3), json!("x")),
        ("new-with-member", none(), json!("x")),
    ] {
        let body = committing(group, generation, member, "orders", &[(0, 7, None)]);
        session.run(step("OffsetCommit, bad member", api::OFFSET_COMMIT, body));
    }
    // A member of a generation commits, and others may not.
    session.run(
        step("JoinGroup", api::JOIN_GROUP, joining("active", json!(""), PROTOCOLS))
            .latest()
            .save("a", "/memberId"),
    );
    let body = joining("active", json!("$a"), PROTOCOLS);
    session.run(step("JoinGroup", api::JOIN_GROUP, body).latest().save("ag", "/generationId"));
    let early = committing("active", json!("$ag"), json!("$a"), "orders", &[(0, 1, None)]);
    session.run(step("OffsetCommit before the sync", api::OFFSET_COMMIT, early));
    let sync = json!({"groupId": "active", "generationId": "$ag", "memberId": "$a", "protocolType": "consumer",
        "protocolName": "range", "assignments": [{"memberId": "$a", "assignment": hex(ASSIGNMENT)}]});
    session.run(step("SyncGroup", api::SYNC_GROUP, sync).latest());
    for (generation, member) in [
        (json!("$ag"), json!("$a")),
        (json!(0), json!("$a")),
        (json!(99), json!("$a")),
        (json!("$ag"), json!("x")),
        (none(), json!("")),
    ] {
        let body = committing("active", generation, member, "orders", &[(0, 8, None)]);
        session.run(step("OffsetCommit in a generation", api::OFFSET_COMMIT, body));
    }
    for (group, topic) in
        [("committed", "orders"), ("absent", "orders"), ("committed", "absent"), ("", "orders")]
    {
        session.run(step("OffsetFetch", api::OFFSET_FETCH, fetching(group, topic, json!([0, 7]))));
    }
    let all =
        json!({"groupId": "committed", "topics": null, "groups": [{"groupId": "committed", "topics": null}]});
    session.run(step("OffsetFetch, all", api::OFFSET_FETCH, all.clone()).versions(2, 10));
    let mut stable = all;
    stable["requireStable"] = json!(true);
    session.run(step("OffsetFetch, stable", api::OFFSET_FETCH, stable).versions(7, 10));
    let several = json!({"groups": [
        {"groupId": "committed", "topics": null}, {"groupId": "absent", "topics": null},
        {"groupId": "active", "topics": [{"name": "orders", "topicId": "$orders.id", "partitionIndexes": [0]}]},
    ]});
    session.run(step("OffsetFetch, several", api::OFFSET_FETCH, several).versions(8, 10));
    for (member, epoch) in [("$a", 1), ("x", 3)] {
        let body = json!({"groups": [{"groupId": "active", "memberId": member, "memberEpoch": epoch, "topics": null}]});
        session.run(step("OffsetFetch of a member", api::OFFSET_FETCH, body).versions(9, 10));
    }
}

fn listing(session: &mut Session) {
    session.run(step("ListGroups", api::LIST_GROUPS, json!({})).settles());
    for (key, value) in [
        ("statesFilter", json!(["Stable"])),
        ("statesFilter", json!(["stable", "EMPTY"])),
        ("statesFilter", json!(["CompletingRebalance"])),
        ("statesFilter", json!(["No such state"])),
        ("typesFilter", json!(["classic"])),
        ("typesFilter", json!(["Consumer"])),
        ("typesFilter", json!(["no-such-type"])),
    ] {
        let low = if key == "typesFilter" { 5 } else { 4 };
        let mut body = json!({});
        body[key] = value;
        session.run(step("ListGroups, filtered", api::LIST_GROUPS, body).versions(low, 5).settles());
    }
}

fn deleting(session: &mut Session) {
    let offsets = |group: &str, topic: &str, partitions: &[i32]| {
        let partitions: Vec<Value> = partitions.iter().map(|p| json!({"partitionIndex": p})).collect();
        json!({"groupId": group, "topics": [{"name": topic, "partitions": partitions}]})
    };
    for (group, topic, partitions) in [
        ("committed", "orders", &[0][..]),
        ("committed", "orders", &[0, 1, 9]),
        ("committed", "absent", &[0]),
        ("absent", "orders", &[0]),
        ("", "orders", &[0]),
        ("active", "orders", &[0]),
        ("committed", "orders", &[]),
        ("committed", "absent", &[]),
        ("committed", "absent", &[3, 3]),
        ("committed", "orders", &[2, 2, 9, 9]),
    ] {
        session.run(step("OffsetDelete", api::OFFSET_DELETE, offsets(group, topic, partitions)));
    }
    let twice = json!([{"name": "absent", "partitions": [{"partitionIndex": 1}]}, {"name": "orders", "partitions": []},
        {"name": "orders", "partitions": [{"partitionIndex": 1}]}, {"name": "absent", "partitions": [{"partitionIndex": 1}]},
        {"name": "orders", "partitions": [{"partitionIndex": 0}]}]);
    let body = json!({"groupId": "committed", "topics": twice});
    session.run(step("OffsetDelete, topics named twice", api::OFFSET_DELETE, body));
    session.run(step(
        "OffsetFetch, deleted",
        api::OFFSET_FETCH,
        fetching("committed", "orders", json!([0, 1, 2])),
    ));
    for groups in [&["absent"][..], &[""], &["active"], &["active", "absent"], &[]] {
        session.run(step("DeleteGroups, bad", api::DELETE_GROUPS, json!({"groupsNames": groups})));
    }
    session.run_each_version(api::DELETE_GROUPS, 0, || {
        let commit = committing("short", json!(-1), json!(""), "orders", &[(0, 5, None)]);
        vec![
            step("OffsetCommit", api::OFFSET_COMMIT, commit),
            step("DeleteGroups", api::DELETE_GROUPS, json!({"groupsNames": ["short", "absent"]})),
            step("DeleteGroups, again", api::DELETE_GROUPS, json!({"groupsNames": ["short"]})),
            step("OffsetFetch", api::OFFSET_FETCH, fetching("short", "orders", json!([0]))),
        ]
    });
    let leave = json!({"groupId": "active", "memberId": "$a", "members": [{"memberId": "$a"}]});
    session.run(step("LeaveGroup", api::LEAVE_GROUP, leave).latest());
    session.run(
        step("DeleteGroups", api::DELETE_GROUPS, json!({"groupsNames": ["active", "committed"]})).latest(),
    );
    session.run(step("ListGroups, what is left", api::LIST_GROUPS, json!({})).settles());
}
