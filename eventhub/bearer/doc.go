// Package bearer lets programs into namespaces of event hubs by access tokens of an identity provider, as Azure's service does with those
// of Entra ID: package eventhub asks it by a function, and knows nothing of providers.
//
// Invariants: a token counts when all of it does, see package signin; it is for the audience of Event Hubs, so that one which the same
// provider gave for another service opens nothing; what it does not say it does not give: a token without rights may do nothing.
//
// A [Verifier] is safe for concurrent use. It starts nothing by itself.
package bearer
