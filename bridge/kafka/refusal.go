package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/fault"
)

// meaning is what an error of the protocol means to a bridge.
type meaning struct {
	kind          fault.Kind
	words, advise string
}

// meanings is by the code of the error (Apache Kafka protocol, Error Codes). Those that are not in it are waited for.
var meanings = map[int16]meaning{
	kerr.MessageTooLarge.Code:    {fault.TooLarge, "the record is larger than the topic takes", "raise max.message.bytes of the topic, or send less in a step"},
	kerr.RecordListTooLarge.Code: {fault.TooLarge, "the record is larger than a segment of the topic", "raise segment.bytes of the topic, or send less in a step"},
	kerr.InvalidRecord.Code:      {fault.Invalid, "the cluster says that the record breaks a rule of the topic", "a compacted topic needs keys: see key"},
	kerr.InvalidTimestamp.Code:   {fault.Invalid, "the topic does not take a record of that time", "its message.timestamp limits say which"},
	kerr.PolicyViolation.Code:    {fault.Invalid, "a policy of the cluster forbids the record", ""},

	kerr.UnknownTopicOrPartition.Code: {fault.NotFound, "the topic does not exist, or may not be seen", "make the topic, or let the user see it"},
	kerr.UnknownTopicID.Code:          {fault.NotFound, "the topic was made anew", ""},
	kerr.InvalidTopicException.Code:   {fault.Invalid, "the cluster says that no topic can have this name, or that it may not be written to", "correct the topic in the bridge's destination"},

	kerr.TopicAuthorizationFailed.Code:   {fault.Denied, "the user may not write to the topic", "it needs Write and Describe on the topic"},
	kerr.ClusterAuthorizationFailed.Code: {fault.Denied, "the user may not write with a producer that drops repeats", "it needs IdempotentWrite on the cluster"},
	kerr.SaslAuthenticationFailed.Code:   {fault.Unauthenticated, "the cluster does not know the user, or the password is wrong", "correct the secret's file"},
	kerr.UnsupportedSaslMechanism.Code:   {fault.Unauthenticated, "the cluster does not know this kind of SASL", "correct sasl in the bridge's destination"},
	kerr.IllegalSaslState.Code:           {fault.Unauthenticated, "the cluster did not expect SASL here", "correct sasl or tls in the bridge's destination"},

	kerr.NotEnoughReplicas.Code:            {fault.Unavailable, "too few replicas of the partition are in sync", ""},
	kerr.NotEnoughReplicasAfterAppend.Code: {fault.Unavailable, "too few replicas of the partition are in sync", ""},
	kerr.LeaderNotAvailable.Code:           {fault.Unavailable, "a partition of the topic has no leader", ""},
	kerr.NotLeaderForPartition.Code: {
		fault.Unavailable, "the broker that was reached does not lead the partition",
		"if it stays so: several brokers are behind one port of the service; give each a port of its own",
	},
	kerr.KafkaStorageError.Code:       {fault.Unavailable, "a disk of the cluster fails or is full", ""},
	kerr.ThrottlingQuotaExceeded.Code: {fault.Exhausted, "the user's quota is used up", "it goes on by itself"},
	kerr.RequestTimedOut.Code:         {fault.Timeout, "the replicas did not get the records in time", ""},
}

// forGood tells whether records will never be taken, whatever happens to the cluster.
func forGood(err error) bool {
	e, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		return false
	}
	m, ok := meanings[e.Code]
	return ok && (m.kind == fault.TooLarge || m.kind == fault.Invalid && e.Code != kerr.InvalidTopicException.Code)
}

// explain puts an error of the library into words. Its own text is in none of them: it may hold what records hold.
func (d *destination) explain(err error) error {
	const op = "kafka.Write"
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if e, ok := errors.AsType[*kerr.Error](err); ok {
		if m, ok := meanings[e.Code]; ok {
			f := fault.Newf(op, m.kind, "%s (%s)", m.words, e.Message)
			if m.advise != "" {
				f = f.Advise("%s", m.advise)
			}
			return f
		}
		return fault.Newf(op, fault.Unavailable, "the cluster behind %s answered %s", d.end.Name, e.Message)
	}
	switch {
	case errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries), errors.Is(err, context.DeadlineExceeded):
		return fault.Newf(op, fault.Timeout, "the cluster behind %s took no records in time", d.end.Name).
			Advise("the brokers' advertised ports must be among the service's")
	case errors.Is(err, io.EOF) && d.spec.SASL != "":
		return fault.Newf(op, fault.Unavailable, "the cluster behind %s ended the connection", d.end.Name).
			Advise("if it stays so, the user or the password may be wrong, or tls may be missing")
	case errors.As(err, new(*kgo.ErrFirstReadEOF)):
		return fault.Newf(op, fault.Unavailable, "the cluster behind %s ends connections at once", d.end.Name).
			Advise("it may expect tls, or SASL, where the bridge's destination has none")
	}
	return fault.Newf(op, fault.Unavailable, "the cluster behind %s cannot be reached, or broke the connection", d.end.Name).Because(err)
}

// unproven says why TLS did not come about.
func unproven(e *end.End, host string, err error) error {
	const op = "kafka.Connect"
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(op, fault.Unavailable, "what is behind the endpoint %s does not prove to be %.100s", e.Name, host).
			Advise("its certificate has another name or is signed by nobody this machine trusts").Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "%.100s did not speak TLS through the endpoint %s", host, e.Name).Because(err)
}
