// Package amqpdoor lets devices register over AMQP 1.0 as Azure's provisioning device SDKs do (DPS: communicate using AMQP). It is given
// connections by whoever accepted them and found that they are meant for a provisioning service.
//
//	SASL PLAIN {id scope}/registrations/{registration id}, a SAS token     SASL TPM: the nonce, then the token     else the certificate of TLS
//	sender link and receiver link on {id scope}/registrations/{registration id}
//	iotdps-operation-type: iotdps-register, iotdps-get-operationstatus (iotdps-operation-id), iotdps-get-registration
//
// An answer goes to the receiver link of the same session and address, with the correlation-id of its request; a refusal is the rejection of
// the request, with the envelope of every door as its description, and with retry-after where trying again may help.
//
// Invariants:
//   - a device is proved before its links are accepted, and again with every request, so that a token that ended or an enrollment that was
//     disabled ends what may be done on an open connection; whether its side may speak to the service is asked with every request, too;
//   - a device that named itself in SASL gets links of its own name only; one with a certificate those of the name in it;
//   - requests of a connection are worked on one after the other, and answered in that order; a peer that sends more than it has credit for
//     waits, or loses its link;
//   - answers are JSON of ASCII characters only: the Node SDK reads nothing else;
//   - a token or a key stands in no log and no error.
//
// A conversation has a goroutine only while there is something to work on; it has ended when Ended returns.
package amqpdoor
