// Package cbs is the $cbs node of AMQP claims-based security (OASIS AMQP CBS 1.0, working draft 5, as Azure's services speak it): where a
// peer puts tokens on a connection that is open already. It reads requests and writes answers; what a token is worth is told by the
// function it is given, and kept by whoever wrote that.
//
// A request is a message with the operation put-token, the audience as its name, and the token as an amqp-value; wire/amqp/exchange says
// where and how it is answered. The answer has the code of HTTP as status-code (an int: some clients take nothing else), words as
// status-description and, of a refusal, the condition of AMQP as error-condition. What is no such request is answered with 400, or
// rejected where no answer is possible. delete-token is answered with 501: a claim ends with its token, or with the connection.
//
// A token stands in no error and no log. The goroutines are those of exchange; see [Node.Wait].
package cbs
