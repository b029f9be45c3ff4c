// Package parity says what becomes of an Azure hub here: for whoever moves one, before he does. A [Judge] sees everything that
// hub/azureexport reads and makes a [Report]: what comes across, what behaves differently and which row of docs/azure-divergences.md is
// about it, what is missing here, what is refused and why, with counts, examples and what to do next. It is pure: it asks no hub.
//
// Of identities a Judge keeps a hash of the name and a few bits, whatever their number, so that several files make one picture; of
// everything else counts and a few examples. Keys appear in no report.
//
// [SettingsOf] is what the resource of a hub becomes, for those who report it and for those who do it.
package parity
