// Package linkedhub lets a provisioning service assign devices to a hub elsewhere, over that hub's own API: one of another Isthmus
// process, or Azure's. It is [provisioning.Config].Dial. It translates and holds no state beyond idle connections; keys and connection
// strings appear in none of its errors. A Hub starts no goroutines of its own and is safe for concurrent use.
package linkedhub
