// Round trips with @platformatic/kafka and every codec that it has on this Node. Arguments: bootstrap servers, prefix.
import { Admin, Consumer, Producer, ProduceAcks, compressionsAlgorithms, stringDeserializers, stringSerializers } from '@platformatic/kafka';

const [bootstrap, prefix] = process.argv.slice(2);
const COUNT = 500;
const LIMIT_MS = 60000;
const common = { clientId: 'platformatic', bootstrapBrokers: [bootstrap] };
const value = (codec, i) => `${codec} ${i} ${'x'.repeat(i % 300)}`;
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'].filter(codec => compressionsAlgorithms[codec].available !== false);

async function roundTrip(codec) {
  const topic = `${prefix}-${codec}`;
  const producer = new Producer({ ...common, serializers: stringSerializers, idempotent: true, compression: codec });
  for (let from = 0; from < COUNT; from += 100) {
    const messages = [];
    for (let i = from; i < from + 100; i++) messages.push({ topic, key: `k${i % 7}`, value: value(codec, i) });
    await producer.send({ messages, acks: ProduceAcks.ALL });
  }
  await producer.close();
  const consumer = new Consumer({ ...common, groupId: topic, deserializers: stringDeserializers, autocommit: false });
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest', sessionTimeout: 10000, heartbeatInterval: 500 });
  const found = [];
  const timer = setTimeout(() => stream.destroy(new Error(`${codec}: ${found.length} records within ${LIMIT_MS} ms`)), LIMIT_MS);
  for await (const message of stream) {
    found.push(`${message.key} ${message.value}`);
    if (found.length === COUNT) {
      await message.commit();
      break;
    }
  }
  clearTimeout(timer);
  await consumer.close(true);
  const wanted = [];
  for (let i = 0; i < COUNT; i++) wanted.push(`k${i % 7} ${value(codec, i)}`);
  if (found.sort().join('\n') !== wanted.sort().join('\n')) throw new Error(`${codec}: not the same records`);
  console.log(`ok platformatic ${codec}`);
}

const admin = new Admin(common);
await admin.createTopics({ topics: codecs.map(codec => `${prefix}-${codec}`), partitions: 3, replicas: 1 });
for (const codec of codecs) await roundTrip(codec);
await admin.close();
console.log('done');
process.exit(0);
