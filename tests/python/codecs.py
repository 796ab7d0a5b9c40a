"""Round trips with every codec: kafka-python, confluent-kafka (librdkafka) and aiokafka. Arguments: client, bootstrap
servers, prefix of the topics."""
import asyncio
import sys
import time

LIMIT_S = 60
COUNT = 1000
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CLIENT, BOOTSTRAP, PREFIX = sys.argv[1:4]


def value(codec, i):
    return f"{codec} {i} ".encode() + bytes([i % 256]) * (i % 300)


def compare(codec, found):
    wanted = sorted((str(i % 7).encode(), value(codec, i)) for i in range(COUNT))
    assert sorted(found) == wanted, f"{codec}: {len(found)} records, not the same"
    print(f"ok {CLIENT} {codec}", flush=True)


def kafka_python(codec, topic):
    from kafka import KafkaConsumer, KafkaProducer
    producer = KafkaProducer(
        bootstrap_servers=[BOOTSTRAP], acks="all", linger_ms=5, batch_size=4000,
        compression_type=None if codec == "none" else codec)
    for i in range(COUNT):
        producer.send(topic, key=str(i % 7).encode(), value=value(codec, i))
    producer.flush()
    producer.close()
    consumer = KafkaConsumer(topic, bootstrap_servers=[BOOTSTRAP], auto_offset_reset="earliest", group_id=None)
    found, end = [], time.monotonic() + LIMIT_S
    while len(found) < COUNT and time.monotonic() < end:
        for records in consumer.poll(timeout_ms=500).values():
            found += [(r.key, r.value) for r in records]
    consumer.close()
    return found


def confluent(codec, topic):
    from confluent_kafka import Consumer, Producer
    errors = []
    producer = Producer({
        "bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "compression.type": codec, "linger.ms": 5,
        "batch.size": 4000})
    for i in range(COUNT):
        producer.produce(topic, key=str(i % 7).encode(), value=value(codec, i),
                         on_delivery=lambda error, message: errors.append(error) if error else None)
    assert producer.flush(LIMIT_S) == 0 and not errors, errors
    consumer = Consumer({
        "bootstrap.servers": BOOTSTRAP, "group.id": topic, "auto.offset.reset": "earliest", "check.crcs": True})
    consumer.subscribe([topic])
    found, end = [], time.monotonic() + LIMIT_S
    while len(found) < COUNT and time.monotonic() < end:
        messages = consumer.consume(500, 0.5)
        assert not any(m.error() for m in messages), [m.error() for m in messages]
        found += [(m.key(), m.value()) for m in messages]
    consumer.close()
    return found


def aiokafka(codec, topic):
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    async def run():
        producer = AIOKafkaProducer(
            bootstrap_servers=BOOTSTRAP, enable_idempotence=True, max_batch_size=4000, linger_ms=5,
            compression_type=None if codec == "none" else codec)
        await producer.start()
        sent = [await producer.send(topic, key=str(i % 7).encode(), value=value(codec, i)) for i in range(COUNT)]
        await asyncio.gather(*sent)
        await producer.stop()
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=BOOTSTRAP, group_id=topic, auto_offset_reset="earliest", check_crcs=True)
        await consumer.start()
        found = []
        while len(found) < COUNT:
            record = await asyncio.wait_for(consumer.getone(), LIMIT_S)
            found.append((record.key, record.value))
        await consumer.stop()
        return found
    return asyncio.run(run())


def create(topics):
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    for future in admin.create_topics([NewTopic(t, 3, 1) for t in topics]).values():
        future.result()


create([f"{PREFIX}-{codec}" for codec in CODECS])
for codec in CODECS:
    client = {"kafka-python": kafka_python, "confluent-kafka": confluent, "aiokafka": aiokafka}[CLIENT]
    compare(codec, client(codec, f"{PREFIX}-{codec}"))
print("done")
