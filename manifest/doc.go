// Package manifest reads the YAML people write into the nouns of package resource, and writes nouns back as YAML that can be
// read again. It is for the command line and for tests; the control plane never sees YAML.
//
// Invariants:
//   - reading is strict: an unknown field, a wrong type, a field or resource given twice and a missing field are all problems, each
//     with file, line, what was expected, what was found and the nearest right name;
//   - every problem of every file is found in one go, and a set with a problem gives no resources at all;
//   - status, and the metadata only Isthmus writes, is ignored (with a note for status), so that what Encode wrote can be read;
//   - what one file can make us hold is bounded: [MaxFile] bytes, and as much again through YAML aliases;
//   - [SchemaOf] is the one description of fields: what it lists is what the reader takes.
//
// The package starts no goroutines and keeps no state.
package manifest
