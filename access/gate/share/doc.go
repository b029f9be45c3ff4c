// Package share divides a number of bytes a second among those who want them, for access/gate: whoever wants little gets what he wants,
// and the others get equal parts of the rest (max-min fairness). Each member may have a limit of his own beside.
//
// The rule is generalized processor sharing (Parekh and Gallager, 1993), turned round: bytes that were let through early are a debt, all
// debts are paid off at once and equally fast, and who owes more than a moment's worth waits. So nobody saves up, nothing is lost while
// somebody wants it, and who has paid off his debt no longer counts among those who share.
//
// It is pure: the time comes with each call, as a duration since whatever the caller likes, and there are no goroutines and no timers. A
// [Room] and its members are safe for concurrent use.
package share
