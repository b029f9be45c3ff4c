// Package examples is manifests to begin with, and the programs beside them. The cross-tenant design is also run by the demo and by tests,
// which is why its manifests can be had from Go.
//
// Nothing here runs by itself.
package examples
