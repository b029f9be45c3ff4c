// Package identity is who a process is to another: SPIFFE ids, the key and certificate it holds, the authorities it trusts, and the
// TLS configurations made from them.
//
// An agent is spiffe://<trust domain>/tenant/<t>/network/<n>/agent/<id>, a relay spiffe://<trust domain>/relay/<id>, the control
// plane spiffe://<trust domain>/control. A certificate carries exactly one such URI (SPIFFE X509-SVID 2). Everything inside the
// deployment speaks TLS 1.3 with both sides authenticated; [Credentials] may be replaced at any time (renewal) and configurations
// made before see the new ones at the next handshake.
//
// The package starts nothing. Credentials are safe for concurrent use.
package identity
