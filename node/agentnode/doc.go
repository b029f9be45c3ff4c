// Package agentnode composes one agent process: membership in front, the agent behind it. It is apart from package node so that
// the slim agent links no control plane, no hub and no database.
//
// Run returns when ctx ends and everything it started has ended, or as soon as one part fails.
package agentnode
