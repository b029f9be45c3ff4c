package amqpdoor

import (
	"bytes"
	"context"
	"encoding/base64"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// The mechanism TPM, as the SDKs in C# and Java speak it. Everything a device sends begins with a zero byte:
//
//	init       id scope, zero, registration id, zero, endorsement key     challenge  zero
//	response   storage root key                                          challenge  control byte and a part of the activation blob
//	response   nothing                                                   ...
//	response   SAS token                                                 outcome
//
// A control byte has bit 7, for the last part bit 6 too, and the number of the part in the two lowest. The SDK in Java wants two parts.
const (
	controlPart  = 0x80
	controlLast  = 0x40
	minParts     = 2
	maxParts     = 4
	maxPart      = 480 // bytes; a SASL frame has 512 at most (5.3.1), with some 25 around the challenge
	maxTPMAnswer = 4096
)

// AuthenticateTPM gives a device with a TPM the key by which it registers, and proves it by the token signed with that. What it returns is for
// engine.Conn.Who. Faults are those of provisioning.Service.Challenge and Prove, and of Config.Admit; noting a refusal is the caller's
// business.
func (d *Door) AuthenticateTPM(ctx context.Context, conn Conn, x *engine.SASL) (any, error) {
	return d.authenticateTPM(ctx, conn, x.Initial, x.Challenge)
}

func (d *Door) authenticateTPM(ctx context.Context, conn Conn, initial []byte, ask func(context.Context, []byte) ([]byte, error)) (any, error) {
	fields := bytes.SplitN(initial, []byte{0}, 4) // the endorsement key may have zeros in it
	if len(fields) != 4 || len(fields[0]) != 0 || len(fields[1]) == 0 || len(fields[2]) == 0 || len(fields[3]) == 0 {
		return nil, badTPM("the initial response is not id scope, registration id and endorsement key")
	}
	registration := string(fields[2])
	who, err := d.find(conn, string(fields[1]))
	if err != nil {
		return nil, err
	}
	keys := provisioning.TPMKeys{EndorsementKey: base64.StdEncoding.EncodeToString(fields[3])}
	storageRootKey, err := answered(ask(ctx, []byte{0}))
	if err != nil {
		return nil, err
	}
	keys.StorageRootKey = base64.StdEncoding.EncodeToString(storageRootKey)
	who.storageRootKey = keys.StorageRootKey
	blob, err := who.service.Challenge(ctx, registration, keys)
	if err != nil {
		return nil, err
	}
	var token []byte
	parts := cut(blob)
	if len(parts) > maxParts {
		return nil, fault.Newf("amqpdoor.AuthenticateTPM", fault.Internal, "an activation blob of %d bytes does not fit", len(blob))
	}
	for i, part := range parts {
		control := byte(controlPart | i)
		if i == len(parts)-1 {
			control |= controlLast
		}
		if token, err = answered(ask(ctx, append([]byte{control}, part...))); err != nil {
			return nil, err
		}
	}
	who.proof = provisioning.Proof{RegistrationID: registration, Token: string(token)}
	if len(token) == 0 {
		return nil, badTPM("the device answered the last part of the blob without a token")
	}
	if err := who.service.Prove(ctx, who.proof); err != nil {
		return nil, err
	}
	return who, nil
}

// answered takes the zero byte off a response.
func answered(response []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if len(response) == 0 || response[0] != 0 || len(response) > maxTPMAnswer {
		return nil, badTPM("a response does not begin with a zero byte, or is too long")
	}
	return response[1:], nil
}

func badTPM(why string) error {
	return fault.New("amqpdoor.AuthenticateTPM", fault.Unauthenticated, "the device does not speak the mechanism TPM: "+why)
}

// cut makes parts of about the same size.
func cut(blob []byte) [][]byte {
	n := max(minParts, (len(blob)+maxPart-1)/maxPart)
	size := (len(blob) + n - 1) / n
	var parts [][]byte
	for range n {
		take := min(size, len(blob))
		parts, blob = append(parts, blob[:take]), blob[take:]
	}
	return parts
}
