// Package tpm makes what a device's TPM 2.0 is sent so that it, and nobody else, comes to know a key: the activation blob of Azure's
// provisioning service. It computes only, with the public parts of two keys of the device: the endorsement key, which the TPM was born
// with, and the storage root key, below which the new key will live (TPM 2.0 Library, part 1, clauses 23.3, 24 and 11.4.10).
//
// Invariants: only RSA keys of 2048 to 4096 bits that are restricted to decryption are taken, with SHA-1, SHA-256 or SHA-384 as name
// algorithm and AES in CFB mode; text that is no such key is fault.Invalid and costs no more than its length.
//
// Beside the tests, a blob was given to swtpm 0.7.1 by way of tpm2-tools 5.4: ActivateCredential, Import, Load and HMAC took it.
//
// The package holds no state, starts no goroutines and is safe for concurrent use.
package tpm
