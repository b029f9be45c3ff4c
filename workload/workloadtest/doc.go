// Package workloadtest gives tests a deployment of agents whose tokens a verifier believes: an authority, agents with certificates, and the list
// of those that were removed.
//
// What its tokens may do is for the test to say, by assignments.
package workloadtest
