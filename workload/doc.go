// Package workload is how programs prove who they are without a key of the service: a bridge, or an agent, shows a token that its agent's
// certificate has signed, and the service looks up what that workload may do.
//
// A token is a JSON Web Token (RFC 7519) in compact form, signed with ES256 by the key of an agent's certificate, which it carries with its
// chain (x5c, RFC 7515 section 4.1.6). Its type is [Type] (RFC 8725 section 3.11), its subject the workload's SPIFFE id, its issuer the
// agent's. The authorities of the deployment vouch for the agent, and the plan for the workload: a token is worth what the role assignments
// give to a workload of which they name that agent a holder. Nobody has to be asked, so tokens are made and checked while the control plane
// is away.
//
// Invariants: only ES256 with the leaf's own key counts, whatever a header says; a token is for one audience and for two hours at most; a
// bridge's token is signed by an agent of the bridge's network, an agent's own by that agent; a revoked agent's tokens are worth nothing at
// once; strangers cost a bounded look and leave nothing behind.
//
// A token for an audience that many services share, such as "https://eventhubs.azure.net/", could be shown by one of them to another: ask
// for one for the service's own host name ("https://lake.servicebus.example/") where the service is another tenant's.
//
// [Minter] and [Verifier] are safe for concurrent use. They start nothing.
package workload
