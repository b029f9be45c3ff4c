// Package httpdoor answers HTTPS for namespaces of event hubs: for those who keep them, for processors that keep their checkpoints here,
// and for whoever sends or reads a few events without an AMQP client. docs/event-hubs-api.md lists the routes; routes.go is the table
// they are checked against. Beside Isthmus's own there is Event Hubs' "Send event" (Event Hubs REST: POST /{event hub}/messages).
//
// Every request bears a SAS token of a policy, or a token of an identity provider, in its Authorization header; the handler of a local
// socket, for whoever may open it, asks for none, and shows keys besides.
//
// It is a handler and not a server: connections, and who may speak to which namespace at all, are its caller's business. A route returns
// its error; one function writes it, by one table from kinds of fault to statuses.
//
// The door holds no state. A request that follows events has a goroutine for each partition, which ends with the request.
package httpdoor
