// Package localdoor answers people on the machine that carries bridges: how each is, and what is among its dead letters, which can be shown,
// sent again and deleted. It is a socket in the data directory of the process ([Serve]) and a client of it ([Client]); whoever may open the
// file may do everything behind it. Dead letters hold what did not cross, so they are shown here and nowhere else.
//
// Requests are HTTP: GET /status, GET /letters, GET /letter, POST /replay, POST /delete, with bridge= and the fields of a filter as query. A
// fault is its kind, words and advice as JSON.
//
// What Serve starts has ended when it returns.
package localdoor
