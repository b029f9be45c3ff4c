package recording

import (
	"filippo.io/age"

	"github.com/isthmus-io/isthmus/fault"
)

// maxRecipients is for how many keys a recording can be encrypted.
const maxRecipients = 16

// NewKey makes a key for recordings (X25519): the public half that writers are given ("age1..."), the private half that Open takes
// ("AGE-SECRET-KEY-1...").
func NewKey() (public, private string, err error) {
	k, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fault.Wrap("recording.NewKey", fault.Internal, err, "no key could be made")
	}
	return k.Recipient().String(), k.String(), nil
}

// CheckRecipient refuses, as Invalid, what is not the public half of a key.
func CheckRecipient(public string) error {
	_, err := recipients([]string{public})
	return err
}

func recipients(public []string) ([]age.Recipient, error) {
	const op = "recording.recipients"
	if len(public) == 0 || len(public) > maxRecipients {
		return nil, fault.Newf(op, fault.Invalid, "the recording has %d recipients", len(public)).Advise("give the public keys of 1 to %d", maxRecipients)
	}
	out := make([]age.Recipient, len(public))
	for i, p := range public {
		r, err := age.ParseX25519Recipient(p)
		if err != nil {
			return nil, fault.Newf(op, fault.Invalid, "%.80q is not a public key for recordings", p).Advise("a public key begins with age1").Because(err)
		}
		out[i] = r
	}
	return out, nil
}
