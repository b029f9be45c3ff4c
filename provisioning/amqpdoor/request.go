package amqpdoor

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// Application properties of a request, and what the first of them says.
const (
	operationType = "iotdps-operation-type"
	operationID   = "iotdps-operation-id"

	register     = "iotdps-register"
	getOperation = "iotdps-get-operationstatus"
	getState     = "iotdps-get-registration"
)

// maxRequest bounds a message: a payload, a TPM's keys, and what is around them.
const maxRequest = provisioning.MaxPayload + 8<<10

// request serves one message. iotdps-forceRegistration changes nothing: every registration is decided anew.
func (v *conversation) request(who *device, d *engine.Delivery) {
	ctx := v.amqp.Context()
	if ctx.Err() != nil {
		d.Release()
		return
	}
	m, err := amqp.Unmarshal(d.Message())
	if err != nil {
		d.Reject(amqp.Errorf(amqp.ConditionDecodeError, "the request is no message: %v", err))
		return
	}
	to := v.answerLink(d.Link())
	if to == nil {
		d.Reject(v.refusal(who.service, fault.New("amqpdoor.request", fault.Invalid, "there is no link to answer on").
			Advise("attach a receiver on the same address, in the same session, first")))
		return
	}
	out, wait, err := v.serve(ctx, who, m)
	var b []byte
	if err == nil {
		b, err = reply(who, m, out, wait)
	}
	if err != nil {
		v.tell(who.proof.RegistrationID, err)
		d.Reject(v.refusal(who.service, err))
		return
	}
	d.Accept()
	settled := to.Peer().SndSettleMode.Or(amqp.SenderMixed) != amqp.SenderUnsettled
	_ = to.Send(to.Context(), engine.Outgoing{Parts: [][]byte{b}, Settled: settled}) // a device that went asks again
}

// serve does what a request asks for; wait tells a device that the end of it is still to come.
func (v *conversation) serve(ctx context.Context, who *device, m *amqp.Message) (out any, wait bool, err error) {
	if err := v.door.mayStay(v.conn, who.service); err != nil {
		return nil, false, err
	}
	var o provisioning.Operation
	switch name, _ := amqptext.Text(m.ApplicationProperties.Get(operationType)); name {
	case register:
		o, err = v.register(ctx, who, m)
	case getOperation:
		id, _ := amqptext.Text(m.ApplicationProperties.Get(operationID))
		o, err = who.service.Operation(ctx, who.proof, id)
	case getState:
		out, err = who.service.DeviceState(ctx, who.proof)
		return out, false, err
	default:
		return nil, false, fault.Newf("amqpdoor.serve", fault.Invalid, "%s is %.60q", operationType, name).
			Advise("it is %s, %s or %s", register, getOperation, getState)
	}
	return o, !o.Done(), err
}

func (v *conversation) register(ctx context.Context, who *device, m *amqp.Message) (provisioning.Operation, error) {
	op := "amqpdoor.register"
	var body struct {
		RegistrationID string                `json:"registrationId"`
		Payload        json.RawMessage       `json:"payload"`
		TPM            *provisioning.TPMKeys `json:"tpm"`
	}
	if text := bytes.TrimSpace(bytes.Join(m.Data, nil)); len(text) > 0 { // C# sends none when it has no payload
		if err := json.Unmarshal(text, &body); err != nil {
			return provisioning.Operation{}, fault.Newf(op, fault.Invalid, "the request is not the JSON that belongs here: %v", err)
		}
	}
	if body.RegistrationID != "" && body.RegistrationID != who.proof.RegistrationID {
		return provisioning.Operation{}, fault.Newf(op, fault.Invalid, "registrationId is %.140q and the device connected as %.140q", body.RegistrationID, who.proof.RegistrationID)
	}
	r := provisioning.Registration{Payload: body.Payload, StorageRootKey: who.storageRootKey}
	if r.StorageRootKey == "" && body.TPM != nil {
		r.StorageRootKey = body.TPM.StorageRootKey
	}
	return who.service.Register(ctx, who.proof, r)
}

// reply makes the answer's message.
func reply(who *device, request *amqp.Message, body any, wait bool) ([]byte, error) {
	b, err := provisioning.MarshalASCII(body)
	if err != nil {
		return nil, err
	}
	m := &amqp.Message{Properties: &amqp.Properties{}, Data: [][]byte{b}}
	if request.Properties != nil {
		m.Properties.CorrelationID = request.Properties.CorrelationID
	}
	if wait {
		m.ApplicationProperties = amqp.Map{{Key: retryLower, Value: retryAfter(who.service)}, {Key: retryUpper, Value: retryAfter(who.service)}}
	}
	out, err := m.Append(nil)
	return out, fault.Wrap("amqpdoor.reply", fault.Internal, err, "")
}
