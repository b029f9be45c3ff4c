package provisioning

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// maxWebhookReply bounds what a webhook may answer, in bytes.
const maxWebhookReply = 64 << 10

// webhook calls custom allocation webhooks.
type webhook struct {
	http     *http.Client
	loopback bool
}

func newWebhook(cfg Config) *webhook {
	w := &webhook{loopback: cfg.LoopbackWebhooks}
	dialer := &net.Dialer{Timeout: cfg.WebhookTimeout, Control: func(_, address string, _ syscall.RawConn) error { return w.mayDial(address) }}
	w.http = &http.Client{
		Timeout: cfg.WebhookTimeout,
		// An answer that leads elsewhere is no answer: who wrote the enrollment named this place and no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: cfg.WebhookRoots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: cfg.WebhookTimeout, MaxIdleConns: 16, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
	}
	return w
}

func (w *webhook) close() { w.http.CloseIdleConnections() }

// mayDial looks at the address that a name led to, so that no name leads into this machine or to the metadata service of its host.
func (w *webhook) mayDial(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fault.Wrap("provisioning.webhook", fault.Internal, err, "")
	}
	ip := a.Addr().Unmap()
	if ip.IsLoopback() && w.loopback {
		return nil
	}
	if ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return fault.New("provisioning.webhook", fault.Denied, "the webhook's name leads to this machine or its link")
	}
	return nil
}

// allocationRequest is what a webhook is sent (DPS: custom allocation policies, AllocationRequest).
type allocationRequest struct {
	Individual *Enrollment    `json:"individualEnrollment,omitempty"`
	Group      *Enrollment    `json:"enrollmentGroup,omitempty"`
	Device     runtimeContext `json:"deviceRuntimeContext"`
	LinkedHubs []string       `json:"linkedHubs"`
}

type runtimeContext struct {
	RegistrationID string          `json:"registrationId"`
	CurrentHub     string          `json:"currentIotHubHostName,omitempty"`
	CurrentDevice  string          `json:"currentDeviceId,omitempty"`
	X509           *webhookX509    `json:"x509,omitempty"`
	SymmetricKey   *struct{}       `json:"symmetricKey,omitempty"`
	TPM            *TPMKeys        `json:"tpm,omitempty"`
	Payload        json.RawMessage `json:"payload,omitempty"`
}

type webhookX509 struct {
	Client *webhookCertificate `json:"clientCertificate,omitempty"`
}

type webhookCertificate struct {
	Info *CertificateInfo `json:"info,omitempty"`
}

// allocationResponse is what a webhook answers.
type allocationResponse struct {
	HubHostName string          `json:"iotHubHostName"`
	InitialTwin *InitialTwin    `json:"initialTwin"`
	Payload     json.RawMessage `json:"payload"`
}

// askWebhook lets the enrollment's webhook choose. Every failure is 400207.
func (s *Service) askWebhook(ctx context.Context, e *Enrollment, rec *record, linked []LinkedHub) (allocation, error) {
	req := allocationRequest{Device: runtimeContext{
		RegistrationID: rec.row.ID, CurrentHub: rec.Hub, CurrentDevice: rec.Device, Payload: rec.Asked,
	}, LinkedHubs: make([]string, len(linked))}
	for i, h := range linked {
		req.LinkedHubs[i] = h.HostName
	}
	shown := e.redacted()
	shown.State = nil
	if e.GroupID != "" {
		req.Group = &shown
	} else {
		req.Individual = &shown
	}
	switch rec.Attest {
	case AttestX509:
		req.Device.X509 = &webhookX509{&webhookCertificate{rec.Leaf}}
	case AttestTPM:
		req.Device.TPM = e.Attestation.TPM
	default:
		req.Device.SymmetricKey = &struct{}{}
	}
	at, err := url.Parse(e.Custom.WebhookURL)
	if err != nil {
		return allocation{}, with(fault.New("provisioning.webhook", fault.Invalid, "custom allocation failed: webhookUrl is no URL"), WebhookFailed)
	}
	back, err := s.server.far.leave(at.Host)
	if err != nil {
		return allocation{}, err
	}
	reply, err := s.server.webhook.call(ctx, e.Custom, req)
	back()
	if err != nil {
		return allocation{}, with(err, WebhookFailed)
	}
	host := strings.ToLower(reply.HubHostName)
	if !slices.ContainsFunc(linked, func(h LinkedHub) bool { return h.HostName == host }) {
		return allocation{}, with(fault.Newf("provisioning.webhook", fault.Invalid, "the webhook chose %.140q, which is not linked", reply.HubHostName), WebhookFailed)
	}
	out := allocation{hub: host, payload: rawOrNil(reply.Payload)}
	if reply.InitialTwin != nil {
		t := reply.InitialTwin.twin()
		for _, part := range []*json.RawMessage{&t.Tags, &t.Desired} {
			if err := checkTwin(part); err != nil {
				return allocation{}, with(fault.New("provisioning.webhook", fault.Invalid, "the webhook's initialTwin cannot be used").Because(err), WebhookFailed)
			}
		}
		out.twin = &t
	}
	if len(out.payload) > MaxPayload || shallow(out.payload) != nil {
		return allocation{}, with(fault.Newf("provisioning.webhook", fault.Invalid, "the webhook's payload has more than %d bytes, or nests too deep", MaxPayload), WebhookFailed)
	}
	return out, nil
}

// call posts a request. Nothing of the URL is in its errors, since Azure Functions have their key in it.
func (w *webhook) call(ctx context.Context, to *CustomAllocation, req allocationRequest) (allocationResponse, error) {
	op := "provisioning.webhook"
	var out allocationResponse
	bad := func(why string) *fault.Error { return fault.New(op, fault.Invalid, "custom allocation failed: "+why) }
	u, err := url.Parse(to.WebhookURL)
	if err != nil {
		return out, bad("webhookUrl is no URL")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && w.loopback && isLoopbackName(u.Hostname())) {
		return out, bad("webhookUrl does not begin with https://")
	}
	b, err := json.Marshal(req)
	if err != nil {
		return out, fault.Wrap(op, fault.Internal, err, "")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.WebhookURL, bytes.NewReader(b))
	if err != nil {
		return out, bad("webhookUrl is no URL")
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("Accept", "application/json")
	resp, err := w.http.Do(r)
	if err != nil {
		if ue, ok := err.(*url.Error); ok { //nolint:errorlint // Do returns no other, and wraps none
			err = ue.Err
		}
		return out, bad("the webhook does not answer, or not in time").Because(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return out, bad("the webhook answered with status " + resp.Status[:min(3, len(resp.Status))])
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxWebhookReply+1))
	if err != nil {
		return out, bad("the webhook's answer broke off").Because(err)
	}
	if len(text) > maxWebhookReply {
		return out, bad("the webhook's answer is too long")
	}
	if err := json.Unmarshal(text, &out); err != nil || out.HubHostName == "" {
		return out, bad("the webhook's answer is no JSON with iotHubHostName").Because(err)
	}
	return out, nil
}

func isLoopbackName(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
