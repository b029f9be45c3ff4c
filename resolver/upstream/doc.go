// Package upstream asks other DNS servers: it is the asking half of the resolver, for whoever has a question that must be answered
// elsewhere. A [Pool] keeps sockets, connections and the health of servers; a [Group] is servers in their order; [Pool.Ask] puts a
// question to a group and calls back with the answer as it came over the wire.
package upstream
