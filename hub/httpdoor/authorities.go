package httpdoor

import (
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

const maxAuthorityBody = 64 << 10

// authorityJSON adds an authority, or answers its challenge.
type authorityJSON struct {
	Certificate string `json:"certificate"` // PEM
	Verified    bool   `json:"verified"`    // the caller vouches for it himself; for adding
}

func listAuthorities(x *exchange) error { return x.reply(x.hub.Authorities()) }

func getAuthority(x *exchange) error {
	for _, a := range x.hub.Authorities() {
		if a.Name == x.name {
			return x.authority(a, nil)
		}
	}
	return elsewhere(fault.Newf("httpdoor.getAuthority", fault.NotFound, "the hub has no certificate authority %.128q", x.name))
}

func putAuthority(x *exchange) error {
	var in authorityJSON
	if err := x.decode(maxAuthorityBody, &in); err != nil {
		return err
	}
	return x.authority(x.hub.AddAuthority(x.Context(), x.name, in.Certificate, in.Verified))
}

func (x *exchange) authority(a hub.Authority, err error) error {
	if err != nil {
		return elsewhere(err)
	}
	x.setETag(a.ETag)
	return x.reply(a)
}

func challengeAuthority(x *exchange) error {
	text, err := x.hub.ChallengeAuthority(x.Context(), x.name)
	if err != nil {
		return elsewhere(err)
	}
	return x.reply(map[string]string{"name": x.name, "verificationCode": text})
}

func verifyAuthority(x *exchange) error {
	var in authorityJSON
	if err := x.decode(maxAuthorityBody, &in); err != nil {
		return err
	}
	return x.authority(x.hub.VerifyAuthority(x.Context(), x.name, in.Certificate))
}

func deleteAuthority(x *exchange) error {
	n, err := x.hub.DeleteAuthority(x.Context(), x.name)
	if err != nil {
		return elsewhere(err)
	}
	return x.reply(map[string]any{"name": x.name, "cut": n})
}
