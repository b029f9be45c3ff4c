package kafka

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	connectTime = 10 * time.Second
	idleTime    = 9 * time.Minute // brokers cut connections after ten
	largest     = 8 << 20         // of one record: brokers say how much they take
	mostAnswer  = 4 << 20         // bytes of what a broker says: of one topic and who leads it

	// Tries of the client, within some seconds, until a record fails with the reason. A time would not do: the library counts it from the
	// record's own, which is the event's.
	mostTries = 5
)

// options is what clients of all lanes have in common.
func options(e *end.End, spec *resource.KafkaDestination) ([]kgo.Opt, error) {
	dial := e.Dial
	if spec.TLS {
		dial = secured(e)
	}
	list := []kgo.Opt{
		kgo.ClientID("isthmus"), kgo.SeedBrokers(seeds(e, spec.TLS)...), kgo.Dialer(dial), kgo.DialTimeout(connectTime), kgo.ConnIdleTimeout(idleTime),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ManualFlushing(), kgo.MaxBufferedRecords(mostEvents), kgo.MaxProduceRequestsInflightPerBroker(1),
		kgo.ProducerBatchMaxBytes(largest), kgo.RecordRetries(mostTries), kgo.UnknownTopicRetries(1),
		kgo.MetadataMinAge(250 * time.Millisecond), kgo.RetryTimeout(connectTime), kgo.DisableClientMetrics(), kgo.BrokerMaxReadBytes(mostAnswer), kgo.FetchMaxBytes(mostAnswer),
	}
	if spec.SASL == "" {
		return list, nil
	}
	mechanism, err := saslOf(e.Secret, spec.SASL)
	if err != nil {
		return nil, err
	}
	return append(list, kgo.SASL(mechanism)), nil
}

func saslOf(secret, name string) (sasl.Mechanism, error) {
	user, password, ok := strings.Cut(secret, ":")
	if !ok || user == "" {
		return nil, fault.New("kafka.New", fault.Invalid, "the secret is not user:password").Advise("write both into the secret's file, with a colon between them")
	}
	switch name {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	}
	return nil, fault.Newf("kafka.New", fault.Invalid, "sasl is %.40q", name).Advise("use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
}

// seeds is where a client asks first.
func seeds(e *end.End, tls bool) []string {
	host, usual := e.HostName, uint16(9092)
	if host == "" {
		host = "service.invalid" // reaches the endpoint all the same
	}
	if tls {
		usual = 9093
	}
	ports := []uint16{usual}
	if !slices.Contains(e.Ports, usual) && len(e.Ports) > 0 {
		ports = e.Ports[:min(len(e.Ports), 16)]
	}
	out := make([]string, len(ports))
	for i, p := range ports {
		out[i] = net.JoinHostPort(host, strconv.Itoa(int(p)))
	}
	return out
}

// secured dials and speaks TLS with the host of the address.
func secured(e *end.End) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := e.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			_ = raw.Close()
			return nil, err
		}
		c := tls.Client(raw, e.Config(host))
		if err := c.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, unproven(e, host, err)
		}
		return c, nil
	}
}

// partitioner chooses as Kafka's clients do for records with a key, and keeps the others of a lane together.
type partitioner struct {
	keyed kgo.Partitioner
	lane  uint32
}

func newPartitioner(lane string) kgo.Partitioner {
	n, err := strconv.ParseUint(lane, 10, 31)
	if err != nil {
		for i := range len(lane) {
			n = n*31 + uint64(lane[i])
		}
	}
	return &partitioner{kgo.StickyKeyPartitioner(nil), uint32(n)}
}

func (p *partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{p.keyed.ForTopic(topic), p.lane}
}

type topicPartitioner struct {
	keyed kgo.TopicPartitioner
	lane  uint32
}

// RequiresConsistency implements kgo.TopicPartitioner: a partition that is away for a while is waited for.
func (*topicPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

func (t *topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Key == nil {
		return int(t.lane % uint32(n))
	}
	return t.keyed.Partition(r, n)
}
