// Package sshca is a tenant's SSH authority: it signs OpenSSH certificates (PROTOCOL.certkeys of OpenSSH) for people's keys and for host
// keys, so that stock sshd lets people in for as long as their grant lasts and no key of theirs ever lies on a machine. The control plane
// owns one authority for each tenant; machines are told its public line (TrustedUserCAKeys, @cert-authority).
//
// Invariants:
//
//   - A certificate always names at least one principal, has an end, and carries an id for sshd's log; what it does not say explicitly
//     it does not allow: no extension is there unless asked for, and there are no critical options.
//   - Keys too weak to rely on are not certified, whoever asks.
//   - A certificate begins [Early] before it is asked to, because clocks differ, and ends exactly when it is asked to.
//
// It keeps nothing, starts no goroutines, and an [Authority] is safe for concurrent use.
package sshca
