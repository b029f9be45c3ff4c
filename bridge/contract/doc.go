// Package contract lets cross what two tenants have agreed may cross, and nothing else. It is for the bridge in the source's tenant, which
// asks it last before an event is sent.
//
// [Compile] makes an [Enforcer] of the agreed text. [Enforcer.Apply] makes the outgoing event from nothing and puts into it what the first
// fitting type of message lists; what it does not name is not looked at again. [Enforcer.Take] asks whether so much may cross now.
//
// What a contract means in detail:
//
//   - A condition (when) that cannot be evaluated for an event breaks the contract: an event of which it is not known what it is does not
//     go on to the next type.
//   - A body of which fields are listed is a JSON object in UTF-8 (RFC 8259, RFC 7493) without a name twice in one object and without half
//     surrogates, at most 128 values deep and 16 MiB long. Numbers and texts cross byte for byte as they stand. Without fields and without
//     wholeBody the outgoing body is empty.
//   - A name fits before *, and a rule of a longer path before one of a shorter. Of two rules that fit a value equally well the stricter
//     holds: drop, then hash. What is hashed is hashed whole: rules of what is inside it do not count.
//   - An element of an array or an object in which nothing may cross is left out, so indexes may change. With *, what is required is
//     required of each element, and there must be at least one. Values that * puts into one array or object keep together by index or name.
//   - For properties, the path is the whole name, and * alone is every name. otherwise is about fields and the application's properties:
//     what the hub says and is not listed is always left out.
//   - A hash is 64 hexadecimal digits: HMAC-SHA-256 of the value's kind and canonical form (numbers without superfluous digits, objects by
//     name). It does not depend on where the value stands, so that one device has one pseudonym in body, properties and partition key.
//   - The partition key, or the device's id where there is none, crosses as it is when it is the device's id and that crosses as it is, or
//     when system lists x-opt-partition-key; otherwise its hash stands for it, which keeps the order of each device. The name of a row of
//     a window (Origin.Name) becomes a keyed hash too, since it may be made of what groups are called. When an event came in, the partition
//     and the sequence number cross.
//
// No error of this package holds a value of an event, or a name that only the event has: they go into dead letters and into statuses which
// others read. The package starts no goroutines; an Enforcer is safe for concurrent use.
package contract
