package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// Ways in which devices and modules prove who they are, as flags have them and as the registry has them.
const (
	authSAS        = "sas"
	authSelfSigned = "self-signed"
	authCA         = "ca"

	typeSelfSigned = "selfSigned"
	typeCA         = "certificateAuthority"
)

// proof is the flags that say how an identity proves itself.
type proof struct {
	w            *world
	changed      func(string) bool
	auth         string
	thumbprints  []string
	certificates []string
	primaryKey   string
	secondaryKey string
}

func addProof(w *world, c *cobra.Command) *proof {
	p := &proof{w: w, changed: c.Flags().Changed}
	f := c.Flags()
	f.StringVar(&p.auth, "auth", "", "`HOW` it proves itself: sas (a key), self-signed (a certificate of its own), ca (a certificate of an authority of the hub)")
	f.StringSliceVar(&p.thumbprints, "thumbprint", nil, "`HEX` SHA-256 or SHA-1 of its certificate, for self-signed; a second one for the next certificate")
	f.StringSliceVar(&p.certificates, "certificate", nil, "PEM `FILE` with its certificate, instead of the thumbprint")
	f.StringVar(&p.primaryKey, "primary-key-file", "", "`FILE` with its primary key, base64; the hub makes keys when absent")
	f.StringVar(&p.secondaryKey, "secondary-key-file", "", "`FILE` with its secondary key, base64")
	completingValues(c, "auth", authSAS, authSelfSigned, authCA)
	return p
}

// given returns what the flags say, nil when they say nothing.
func (p *proof) given() (*hubclient.Auth, error) {
	var prints []string
	for _, t := range p.thumbprints {
		prints = append(prints, strings.ReplaceAll(t, ":", "")) // as openssl writes them
	}
	for _, file := range p.certificates {
		t, err := thumbprintOf(file)
		if err != nil {
			return nil, err
		}
		prints = append(prints, t)
	}
	keys, err := p.keys()
	if err != nil {
		return nil, err
	}
	how := p.auth
	switch {
	case how == "" && len(prints) > 0:
		how = authSelfSigned
	case how == "" && keys != nil:
		how = authSAS
	}
	a := &hubclient.Auth{}
	switch how {
	case "":
		return nil, nil
	case authSAS:
		a.Type, a.Keys = authSAS, keys
	case authSelfSigned:
		a.Type = typeSelfSigned
	case authCA:
		a.Type = typeCA
	default:
		return nil, usagef("--auth %q is none", how).advise("write sas, self-signed or ca")
	}
	switch {
	case how == authSelfSigned && (len(prints) == 0 || len(prints) > 2):
		return nil, usagef("--auth self-signed needs one or two thumbprints, here are %d", len(prints)).advise("give --certificate device.pem, or --thumbprint HEX")
	case how != authSelfSigned && len(prints) > 0:
		return nil, usagef("a thumbprint has no place beside --auth %s", how).advise("use --auth self-signed, or leave the thumbprint away")
	case how != authSAS && keys != nil:
		return nil, usagef("a key has no place beside --auth %s", how).advise("use --auth sas, or leave the key away")
	}
	if len(prints) > 0 {
		a.Thumbprints = &hubclient.Thumbprints{Primary: prints[0]}
		if len(prints) == 2 {
			a.Thumbprints.Secondary = prints[1]
		}
	}
	return a, nil
}

func (p *proof) keys() (*hubclient.Keys, error) {
	if p.primaryKey == "" && p.secondaryKey == "" {
		return nil, nil
	}
	if p.primaryKey == "" || p.secondaryKey == "" {
		return nil, usagef("only one of the two keys is given").advise("give --primary-key-file and --secondary-key-file, or neither")
	}
	primary, err := p.w.secret("primary key", p.primaryKey)
	if err != nil {
		return nil, err
	}
	secondary, err := p.w.secret("secondary key", p.secondaryKey)
	return &hubclient.Keys{Primary: primary, Secondary: secondary}, err
}

// thumbprintOf returns the SHA-256 of the first certificate of a PEM file, in hexadecimal digits.
func thumbprintOf(file string) (string, error) {
	cert, err := certificateIn(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:])), nil
}

func certificateIn(file string) (*x509.Certificate, error) {
	list, err := certificatesIn(file)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// certificatesIn reads the certificates of a PEM file, at least one, and passes over whatever else it holds.
func certificatesIn(file string) ([]*x509.Certificate, error) {
	op := "isthmus.certificate"
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(op, fault.NotFound, err, "the certificate cannot be read: "+err.Error())
	}
	var list []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault.Wrap(op, fault.Invalid, err, "a certificate in "+file+" is damaged")
		}
		list = append(list, cert)
	}
	if len(list) == 0 {
		return nil, fault.Newf(op, fault.Invalid, "%s holds no certificate", file).Advise("give a PEM file: it begins with -----BEGIN CERTIFICATE-----")
	}
	return list, nil
}

// pemOf writes certificates as PEM.
func pemOf(list ...*x509.Certificate) string {
	var b strings.Builder
	for _, cert := range list {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // into memory
	}
	return b.String()
}

// identityString is what an SDK of a device or a module is configured with.
func identityString(ctx context.Context, hub *hubclient.Client, name, key string) (string, error) {
	op := "isthmus.hub"
	host, err := hub.HostName(ctx)
	if err != nil {
		return "", err
	}
	d, err := hub.Device(ctx, name)
	if err != nil {
		return "", err
	}
	cs := sas.ConnectionString{HostName: host, DeviceID: d.ID, ModuleID: d.ModuleID}
	a := d.Authentication
	switch {
	case a != nil && (a.Type == typeSelfSigned || a.Type == typeCA):
		cs.X509 = true
	case a == nil || a.Keys == nil || a.Keys.Primary == "":
		return "", fault.Newf(op, fault.Invalid, "%s has neither a key nor a certificate", identityWords(d.ID, d.ModuleID)).
			Advise("give it one: isthmus hub device update %s --auth sas", d.ID)
	case key == hubclient.Secondary:
		cs.Key = a.Keys.Secondary
	default:
		cs.Key = a.Keys.Primary
	}
	return cs.String(), nil
}

// identityWords names a device or a module in a sentence.
func identityWords(device, module string) string {
	if module == "" {
		return "device " + harmless(device)
	}
	return "module " + harmless(device) + "/" + harmless(module)
}

// nameWords is identityWords of "device" or "device/module".
func nameWords(name string) string {
	device, module, _ := strings.Cut(name, "/")
	return identityWords(device, module)
}

// moduleName checks that an argument names a module.
func moduleName(name string) error {
	device, module, ok := strings.Cut(name, "/")
	if !ok || device == "" || module == "" {
		return usagef("%q names no module", name).advise("write DEVICE/MODULE, such as press-4/camera")
	}
	return nil
}

// authWords is a type of the registry as people write it.
func authWords(kind string) string {
	switch kind {
	case typeSelfSigned:
		return authSelfSigned
	case typeCA:
		return authCA
	}
	return kind
}

// completeDevices completes ids of devices.
func completeDevices(a access[*hubclient.Client], several bool) cobra.CompletionFunc {
	return a.completing(several, func(ctx context.Context, hub *hubclient.Client, typed string) ([]string, error) {
		// Ids are listed in their order, and nothing that begins with what was typed comes before it.
		const enough = 100
		list, err := hub.Devices(ctx, typed, enough)
		var names []string
		for _, d := range list {
			if strings.HasPrefix(d.ID, typed) {
				names = append(names, d.ID)
			}
		}
		return names, err
	})
}

// completeIdentities completes devices, and their modules once the slash is typed.
func completeIdentities(a access[*hubclient.Client], several bool) cobra.CompletionFunc {
	devices := completeDevices(a, several)
	modules := completeModules(a, several)
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if strings.Contains(typed, "/") {
			return modules(c, args, typed)
		}
		return devices(c, args, typed)
	}
}

// completeModules completes modules once the device is typed, and devices before that.
func completeModules(a access[*hubclient.Client], several bool) cobra.CompletionFunc {
	devices := completeDevices(a, several)
	modules := a.completing(several, func(ctx context.Context, hub *hubclient.Client, typed string) ([]string, error) {
		device, _, _ := strings.Cut(typed, "/")
		list, err := hub.Modules(ctx, device)
		var names []string
		for _, m := range list {
			names = append(names, m.Name())
		}
		return names, err
	})
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if strings.Contains(typed, "/") {
			return modules(c, args, typed)
		}
		names, _ := devices(c, args, typed)
		for i := range names {
			names[i] += "/"
		}
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// named is an identity that has no more than a name.
func named(name string) hubclient.Device {
	device, module, _ := strings.Cut(name, "/")
	return hubclient.Device{ID: device, ModuleID: module}
}
