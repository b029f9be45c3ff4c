// Package signin makes what simulated devices prove themselves with: SAS tokens signed with a policy's key, with keys of their own from
// the registry, or with keys derived from a DPS group's; or X.509 certificates. A provisioning service may say before which hub is theirs.
//
// [New] chooses the [Method] the settings ask for. Prepare is called once before the first connection and finds what is missing, so
// that no device starts when another one cannot. A Method holds keys and is safe for concurrent use; the package owns no goroutine
// that outlives a call.
package signin
