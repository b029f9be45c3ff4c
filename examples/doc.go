// Package examples is manifests to begin with, and the programs beside them. The cross-tenant design is also run by the demo and by tests,
// which is why it can be had from Go.
package examples
