// Package deploy holds no program: it is the units, templates and Terraform files that put Isthmus onto machines, for whoever runs them,
// and the tests that keep them formatted, free of references that lead nowhere, and in step with the command line. What only a cloud or
// systemd itself can tell is not tested here.
package deploy
