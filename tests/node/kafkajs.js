// Round trips with kafkajs: the codecs it has built in, and snappy from its own package. (Its packages for lz4
// and zstd are native code or write frames that Apache Kafka refuses; the other clients cover those.) Arguments: bootstrap servers, prefix.
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');

const [bootstrap, prefix] = process.argv.slice(2);
const COUNT = 500;
const LIMIT_MS = 60000;
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy };
const value = (codec, i) => `${codec} ${i} ${'x'.repeat(i % 300)}`;

async function roundTrip(kafka, codec) {
  const topic = `${prefix}-${codec}`;
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let from = 0; from < COUNT; from += 100) {
    const messages = [];
    for (let i = from; i < from + 100; i++) messages.push({ key: `k${i % 7}`, value: value(codec, i), headers: { n: `${i}` } });
    await producer.send({ topic, acks: -1, compression: codecs[codec], messages });
  }
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: topic });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const found = [];
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${codec}: ${found.length} records within ${LIMIT_MS} ms`)), LIMIT_MS);
    consumer.run({
      eachMessage: async ({ message }) => {
        found.push(`${message.key} ${message.value} ${message.headers.n}`);
        if (found.length === COUNT) {
          clearTimeout(timer);
          resolve();
        }
      },
    }).catch(reject);
  });
  await consumer.disconnect();
  const wanted = [];
  for (let i = 0; i < COUNT; i++) wanted.push(`k${i % 7} ${value(codec, i)} ${i}`);
  if (found.sort().join('\n') !== wanted.sort().join('\n')) throw new Error(`${codec}: not the same records`);
  console.log(`ok kafkajs ${codec}`);
}

async function main() {
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.ERROR });
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: Object.keys(codecs).map(codec => ({ topic: `${prefix}-${codec}`, numPartitions: 3 })), waitForLeaders: true });
  for (const codec of Object.keys(codecs)) await roundTrip(kafka, codec);
  const offsets = await admin.fetchTopicOffsets(`${prefix}-none`);
  const total = offsets.reduce((sum, o) => sum + Number(o.high), 0);
  if (total !== COUNT) throw new Error(`end offsets: ${total}`);
  await admin.disconnect();
  console.log('done');
}

main().then(() => process.exit(0), error => { console.error(error); process.exit(1); });
