// Package migration brings what hub/azureexport reads into a hub and a provisioning service here, over their clients.
//
// A [Plan] is shown everything once, remembers what is small, and where the rest is; what hub/parity says of it is [Plan.Report].
// [Plan.Run] then does it, reading files with many identities again, in an order in which each thing finds what it needs: settings,
// authorities, devices (those with a proof first, edge devices before those behind them), modules, twins, configurations, routing, consumer
// groups, enrollments.
//
// Invariants:
//   - done again it changes nothing: what was interrupted is begun anew;
//   - what is here already is left alone unless the mode says otherwise; settings, which always exist, are set;
//   - an identity is made with its twin in one transaction or not at all; one that fails keeps nobody else out;
//   - everything that fails is told, with the reason; an error of Run means that not all was tried;
//   - a trial changes nothing;
//   - keys appear in no error.
//
// It starts no goroutine.
package migration
