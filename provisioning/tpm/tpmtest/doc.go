// Package tpmtest plays a TPM 2.0 for tests: it has an endorsement key and a storage root key, and does to an activation blob what a
// real one does in ActivateCredential and Import. It is written from the standard, apart from what package tpm does, so that one finds
// the other's mistakes. It starts no goroutines.
package tpmtest
