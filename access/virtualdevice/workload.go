package virtualdevice

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Workload is what the runtime of IoT Edge does for its modules, which do not have their keys themselves: its workload API, version
// 2018-06-28.
type Workload struct {
	base   string
	path   string // of requests to sign
	client *http.Client
}

const (
	workloadVersion = "?api-version=2018-06-28"
	workloadTimeout = 20 * time.Second
	maxWorkload     = 1 << 20
)

// NewWorkload returns the API at an address, unix:///path or http://host:port, for a module and its generation. Invalid when the address is
// neither.
func NewWorkload(address, module, generation string) (*Workload, error) {
	u, err := url.Parse(address)
	w := &Workload{path: "/modules/" + url.PathEscape(module) + "/genid/" + url.PathEscape(generation) + "/sign" + workloadVersion, client: &http.Client{Timeout: workloadTimeout}}
	t := &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Second}
	w.client.Transport = t
	switch {
	case err == nil && u.Scheme == "unix" && u.Path != "":
		w.base = "http://workload"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", u.Path)
		}
	case err == nil && u.Scheme == "http" && u.Host != "":
		w.base = "http://" + u.Host
	default:
		return nil, fault.New("virtualdevice.NewWorkload", fault.Invalid, "IOTEDGE_WORKLOADURI is neither unix:///path nor http://host:port")
	}
	return w, nil
}

// sign returns the HMAC-SHA256 of a text by the module's key.
func (w *Workload) sign(ctx context.Context, text []byte) ([]byte, error) {
	var answer struct {
		Digest string `json:"digest"`
	}
	body, _ := json.Marshal(map[string]string{"keyId": "primary", "algo": "HMACSHA256", "data": base64.StdEncoding.EncodeToString(text)}) // texts always can be
	if err := w.call(ctx, http.MethodPost, w.path, body, &answer); err != nil {
		return nil, err
	}
	digest, err := base64.StdEncoding.DecodeString(answer.Digest)
	if err != nil || len(digest) == 0 {
		return nil, fault.New("virtualdevice.sign", fault.Unavailable, "the workload API of IoT Edge gave no signature").Because(err)
	}
	return digest, nil
}

// trustBundle returns the authorities, as PEM, that modules trust.
func (w *Workload) trustBundle(ctx context.Context) (string, error) {
	var answer struct {
		Certificate string `json:"certificate"`
	}
	err := w.call(ctx, http.MethodGet, "/trust-bundle"+workloadVersion, nil, &answer)
	return answer.Certificate, err
}

func (w *Workload) call(ctx context.Context, method, path string, body []byte, into any) error {
	op := "virtualdevice.Workload"
	r, err := http.NewRequestWithContext(ctx, method, w.base+path, bytes.NewReader(body))
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := w.client.Do(r)
	if err != nil {
		return fault.New(op, fault.Unavailable, "the workload API of IoT Edge does not answer").Because(err).
			Advise("mount the socket of IOTEDGE_WORKLOADURI into the container, as the runtime does for its modules")
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxWorkload))
	if err == nil && answer.StatusCode/100 == 2 {
		err = json.Unmarshal(text, into)
	}
	if err != nil || answer.StatusCode/100 != 2 {
		return fault.Newf(op, fault.Unavailable, "the workload API of IoT Edge answered %s", answer.Status).Because(err)
	}
	return nil
}
