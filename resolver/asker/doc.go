// Package asker asks a resolver one question and reads, beside the answer, how that came about (resolver.WhyOption): what the cache had,
// which upstream was asked, how long it took. It is for `isthmus dns why` and for other people's tools.
//
// Any DNS server may be asked; one that is not ours answers and explains nothing. Questions go over TCP, since an explanation does not
// fit a datagram, and to the address given alone: no search list, no other server. Text of a server is untrusted: it may hold anything
// but line breaks and other control characters, and is bounded by one message.
//
// There are no goroutines.
package asker
