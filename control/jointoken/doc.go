// Package jointoken is the text a joiner is handed: where the control plane is reached, how to know it for the right one, and the
// one-time secret that lets a process in.
//
// The text is "isthmus-join." followed by the unpadded base64url (RFC 4648 5) of a JSON object. It is for whoever makes tokens
// (package control) and whoever uses them (package membership). A token is a secret: it is never logged and never part of an error.
//
// The package does no I/O, starts nothing, and what it decodes is bounded by [MaxLength].
package jointoken
