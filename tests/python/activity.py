"""The activity stream with kafka-python: events of users, a group that counts actions, a second member that joins and
shares the partitions, replay from the beginning. Arguments: bootstrap servers, topic."""
import json
import sys
import time
from collections import Counter

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

LIMIT_S = 60
BOOTSTRAP, TOPIC = sys.argv[1], sys.argv[2]
ACTIONS = ["click", "like", "share"]


def consumer(**settings):
    return KafkaConsumer(
        bootstrap_servers=[BOOTSTRAP], auto_offset_reset="earliest", enable_auto_commit=False,
        value_deserializer=lambda value: json.loads(value.decode()), key_deserializer=bytes.decode, **settings)


def until(what, probe):
    end = time.monotonic() + LIMIT_S
    while not probe():
        assert time.monotonic() < end, f"{what}: not within {LIMIT_S} s"


def poll_into(events, *members):
    for member in members:
        for records in member.poll(timeout_ms=100).values():
            events.extend(records)


def send(count, first=0):
    producer = KafkaProducer(
        bootstrap_servers=[BOOTSTRAP], acks="all", key_serializer=str.encode,
        value_serializer=lambda value: json.dumps(value).encode())
    events = [{"user": f"user{i % 10}", "action": ACTIONS[i % 3], "number": i} for i in range(first, first + count)]
    sent = [producer.send(TOPIC, key=event["user"], value=event) for event in events]
    producer.flush()
    places = {(future.get(10).partition, future.get(10).offset) for future in sent}
    assert len(places) == count, "every event has its own place"
    producer.close()
    return events


def main():
    admin = KafkaAdminClient(bootstrap_servers=[BOOTSTRAP])
    admin.create_topics([NewTopic(TOPIC, 3, 1)])
    events = send(100)
    print("ok produced 100 events")

    one = consumer(group_id="analytics-" + TOPIC, client_id="one")
    one.subscribe([TOPIC])
    got = []
    until("the first hundred events", lambda: poll_into(got, one) or len(got) >= 100)
    assert Counter(e.value["action"] for e in got) == Counter(e["action"] for e in events)
    assert sorted(e.value["number"] for e in got) == list(range(100))
    for user in range(10):
        numbers = [e.value["number"] for e in got if e.key == f"user{user}"]
        assert numbers == sorted(numbers), "events of one user keep their order"
    one.commit()
    print("ok counted the actions")

    two = consumer(group_id="analytics-" + TOPIC, client_id="two")
    two.subscribe([TOPIC])
    late = []
    until("both share", lambda: poll_into(late, one, two) or (
        len(one.assignment()) + len(two.assignment()) == 3 and one.assignment() and two.assignment()))
    assert one.assignment().isdisjoint(two.assignment())
    more = send(60, first=100)
    until("sixty more", lambda: poll_into(late, one, two) or len(late) >= len(more))
    assert sorted(e.value["number"] for e in late) == list(range(100, 160)), "each event once, none of the old ones"
    one.commit()
    two.commit()
    two.close()
    until("the first has all again", lambda: poll_into(late, one) or len(one.assignment()) == 3)
    one.close()
    print("ok shared the partitions")

    partitions = [TopicPartition(TOPIC, i) for i in range(3)]
    watcher = consumer(group_id="analytics-" + TOPIC)
    ends = watcher.end_offsets(partitions)
    assert sum(ends.values()) == 160
    assert sum(ends[p] - watcher.committed(p) for p in partitions) == 0, "no lag"
    watcher.close()
    replay = consumer(group_id=None)
    replay.assign(partitions)
    replay.seek_to_beginning(*partitions)
    again = []
    until("the replay", lambda: poll_into(again, replay) or len(again) >= 160)
    assert sorted(e.value["number"] for e in again) == list(range(160))
    replay.close()
    print("ok replayed from the beginning")
    admin.delete_topics([TOPIC])
    admin.close()
    print("done")


main()
