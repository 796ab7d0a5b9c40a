// Round trips with franz-go: every codec, idempotent and direct; a group with cooperative-sticky that two members
// share; topics, offsets and groups through kadm. Arguments: bootstrap servers, prefix of the topics.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const count = 1000

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func assert(condition bool, format string, arguments ...any) {
	if !condition {
		check(fmt.Errorf(format, arguments...))
	}
}

func client(bootstrap string, options ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap))...)
	check(err)
	return made
}

func value(codec string, i int) string {
	return fmt.Sprintf("%s %d %s", codec, i, strings.Repeat("x", i%300))
}

func produce(ctx context.Context, bootstrap, topic, codec string, options ...kgo.Opt) []string {
	producer := client(bootstrap, append(options, kgo.DefaultProduceTopic(topic))...)
	defer producer.Close()
	var sent []string
	for i := range count {
		record := &kgo.Record{Key: fmt.Appendf(nil, "k%d", i%7), Value: []byte(value(codec, i))}
		sent = append(sent, string(record.Key)+" "+string(record.Value))
		producer.Produce(ctx, record, func(_ *kgo.Record, err error) { check(err) })
	}
	check(producer.Flush(ctx))
	slices.Sort(sent)
	return sent
}

func consume(ctx context.Context, consumers ...*kgo.Client) []string {
	var found []string
	for len(found) < count {
		for _, consumer := range consumers {
			turn, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			fetches := consumer.PollFetches(turn)
			cancel()
			check(ctx.Err())
			fetches.EachRecord(func(r *kgo.Record) { found = append(found, string(r.Key)+" "+string(r.Value)) })
		}
	}
	slices.Sort(found)
	return found
}

func main() {
	bootstrap, prefix := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	admin := kadm.NewClient(client(bootstrap))
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
	for _, c := range codecs {
		topic := prefix + "-" + c.name
		_, err := admin.CreateTopic(ctx, 3, 1, nil, topic)
		check(err)
		sent := produce(ctx, bootstrap, topic, c.name, kgo.ProducerBatchCompression(c.codec), kgo.ProducerBatchMaxBytes(8000))
		consumer := client(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		assert(slices.Equal(sent, consume(ctx, consumer)), "%s: not the same records", c.name)
		consumer.Close()
		fmt.Println("ok franz-go", c.name)
	}

	// Leader acks without idempotence, and a group of two.
	topic := prefix + "-group"
	_, err := admin.CreateTopic(ctx, 4, 1, nil, topic)
	check(err)
	sent := produce(ctx, bootstrap, topic, "group", kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
	member := func() *kgo.Client {
		return client(bootstrap, kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
			kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	one := member()
	assert(slices.Equal(sent, consume(ctx, one)), "group: not the same records")
	check(one.CommitUncommittedOffsets(ctx))
	two := member()
	assigned := func() (int, int) {
		groups, err := admin.DescribeGroups(ctx, topic)
		check(err)
		members := groups[topic].Members
		if groups[topic].State != "Stable" || len(members) != 2 {
			return 0, 0
		}
		size := func(i int) int {
			assignment, ok := members[i].Assigned.AsConsumer()
			if !ok || len(assignment.Topics) == 0 {
				return 0
			}
			return len(assignment.Topics[0].Partitions)
		}
		return size(0), size(1)
	}
	for first, second := assigned(); first != 2 || second != 2; first, second = assigned() {
		for _, consumer := range []*kgo.Client{one, two} {
			turn, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			assert(consumer.PollFetches(turn).NumRecords() == 0, "records that were committed come again")
			cancel()
			check(ctx.Err())
		}
	}
	again := produce(ctx, bootstrap, topic, "again")
	assert(slices.Equal(again, consume(ctx, one, two)), "shared: not the same records")
	check(one.CommitUncommittedOffsets(ctx))
	check(two.CommitUncommittedOffsets(ctx))
	one.Close()
	two.Close()
	fmt.Println("ok franz-go group")

	lag, err := admin.Lag(ctx, topic)
	check(err)
	assert(lag[topic].Lag.Total() == 0, "lag %d", lag[topic].Lag.Total())
	ends, err := admin.ListEndOffsets(ctx, topic)
	check(err)
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	assert(total == 2*count, "end offsets: %d", total)
	_, err = admin.DeleteTopics(ctx, topic)
	check(err)
	fmt.Println("ok franz-go admin")
	admin.Close()
	fmt.Println("done")
}
