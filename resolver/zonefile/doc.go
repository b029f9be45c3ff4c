// Package zonefile reads zone files (RFC 1035 section 5, as BIND writes them) into record sets, for those who bring a zone from the DNS
// server they had.
//
// Reading is strict and finds every problem of a file in one go: a line that cannot be read, a record outside the zone, a type a private
// zone does not hold, a CNAME beside other records each come with file and line. The zone's own SOA and NS records are left out with a
// note, because a private zone has no servers to name. $INCLUDE is refused: a zone file must not read other files of the machine.
//
// What a file can make us hold is bounded: [MaxBytes], [MaxSets] record sets and [MaxProblems] problems. The package does no I/O but
// reading the given reader, starts nothing and keeps nothing.
package zonefile
