// Package kafka is the destination of bridges that is a topic of Apache Kafka, or of what speaks its protocol. Brokers are reached through a
// private endpoint and nothing else.
//
// A cluster tells its clients a host and a port for each broker. Of these only the port counts: it is opened at the service behind the
// endpoint. So a cluster with several brokers needs one port for each of them in the service and in what the brokers advertise (a listener
// of its own, such as broker-2:9094), and a service in front of it that leads each port to its broker. With tls, a broker has to prove to be
// the host that it advertises; the first connection goes to the service's host name. The first connection uses port 9093 with TLS, 9092 without,
// or else any port of the service.
//
// A record's key is the value of the expression key, or the device's id; events without one are in one partition for each lane. The partition is
// the one that Kafka's own clients choose for the key (murmur2). The value is the body; headers are system properties, application
// properties and the marks of the bridge, each name once, texts and bytes as they are, others as text. The record's time is when the source took
// the event in, or now if that is later.
//
// A batch is durable when all in-sync replicas have it (acks=all). Within one connection of a lane the producer is idempotent, so what the client
// itself sends again is there once; what the bridge sends again after a failure is marked.
//
// What errors mean: a record that is too large, or refused by the topic's own checks, is refused for good, alone: halves of its batch are
// tried. Everything else waits, with words: a topic that does not exist or may not be written to, a wrong password, too few replicas, a full disk.
//
// Invariants: each lane has a producer of its own with one batch for each partition under way, and the next begins when the outcome of
// the last is known. So nothing behind a failed record is in the topic before it, and of a batch that failed midway only the rest is sent
// again. Records are in memory only while their Write lasts.
//
// Goroutines are those of the library's clients, one client for each lane that writes; they have ended when Close returns.
package kafka
