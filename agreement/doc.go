// Package agreement makes and checks the signatures under a contract between two tenants. The control plane signs with it for a tenant that
// agreed; whoever has the contract and the authority's certificate (ca.pem) checks with it, without asking anybody.
//
// Invariants:
//   - a signature is good for one contract, version, text, tenant, person and moment, and for nothing that is no contract;
//   - an agreement holds only with one signature of each side, of the tenant whose contract it is and of the one it is with, and with no others.
//
// It keeps nothing and starts no goroutines.
package agreement
