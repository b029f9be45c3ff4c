// Package grant is the life of a grant, the agreement that one person may come into one target for a while: asked for, approved by others,
// in force from a moment until another, ended. It is pure: rules and states, no clock and no disk. The control plane keeps grants and asks
// here what may become of them; agents see only what is left of one, plan.Grant.
//
// Invariants:
//
//   - Only a grant that is Approved lets anybody in, and only between From and Until; nothing here makes Until later without as many
//     approvals as the first time.
//   - Nobody approves what he asked for himself, unless the policy says so; nobody approves twice.
//   - Denied, Withdrawn, Lapsed, Revoked and Expired are final.
//   - Each step says who, when and why.
//
// It has no goroutines.
package grant
