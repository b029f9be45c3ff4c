package virtualdevice

import (
	"context"
	"crypto/x509"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Environment variables that say which devices there are, what is trusted, and whether the process is a module.
const (
	VariableDevices = "ISTHMUS_VIRTUAL_DEVICES"      // a JSON list of Device
	VariableFile    = "ISTHMUS_VIRTUAL_DEVICES_FILE" // a file that holds such a list
	VariableCA      = "ISTHMUS_VIRTUAL_DEVICES_CA"   // a file of authorities as PEM, trusted beside the system's
	VariableDevice  = "ISTHMUS_VIRTUAL_DEVICE_"      // with a name behind it: one Device as JSON, under the name in lower case unless it has one

	// VariableTwin set to "off" keeps a module's twin out of it: neither followed nor written. What may write the twin says where streams lead.
	VariableTwin = "ISTHMUS_VIRTUAL_DEVICES_TWIN"

	variableString   = "EdgeHubConnectionString" // IoT Edge: a module outside a device, with what follows
	variableStringCA = "EdgeModuleCACertificateFile"
	variableWorkload = "IOTEDGE_WORKLOADURI" // IoT Edge: a module of a device, with others of IOTEDGE_
)

// environment is what the variables say.
type environment struct {
	devices  []Device
	roots    *x509.CertPool // nil: the system's
	workload *Workload      // of a module of a device
	module   identity       // of one; else zero
	text     string         // connection string of a module outside a device
	textCA   string         // PEM
}

// readEnvironment reads variables as os.Environ has them.
func readEnvironment(variables []string) (environment, error) {
	e := environment{}
	env := map[string]string{}
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	list := []byte(env[VariableDevices])
	if file := env[VariableFile]; file != "" {
		if len(list) > 0 {
			return e, fault.Newf("virtualdevice.readEnvironment", fault.Invalid, "%s and %s are both set", VariableDevices, VariableFile).Advise("set one of the two")
		}
		var err error
		if list, err = readFile(VariableFile, file); err != nil {
			return e, err
		}
	}
	if len(list) > 0 {
		var err error
		if e.devices, err = ReadDevices(list); err != nil {
			return e, fault.Wrap("virtualdevice.readEnvironment", fault.Invalid, err, "")
		}
	}
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		name, ok := strings.CutPrefix(variable, VariableDevice)
		if !ok {
			continue
		}
		d, err := ReadDevice([]byte(env[variable]))
		if err != nil { // the others are not to be harmed
			d = Device{problem: err}
		}
		if d.Name == "" {
			d.Name = strings.ToLower(name)
		}
		e.devices = append(e.devices, d)
	}
	if file := env[VariableCA]; file != "" {
		pem, err := readFile(VariableCA, file)
		if err != nil {
			return e, err
		}
		if e.roots, err = x509.SystemCertPool(); err != nil {
			e.roots = x509.NewCertPool()
		}
		if !e.roots.AppendCertsFromPEM(pem) {
			return e, fault.Newf("virtualdevice.readEnvironment", fault.Invalid, "%s holds no certificate", file).Advise("%s names a file of certificates as PEM", VariableCA)
		}
	}
	switch twin := env[VariableTwin]; twin {
	case "", "on":
		return e, e.readModule(env)
	case "off":
		return e, nil
	}
	return e, fault.Newf("virtualdevice.readEnvironment", fault.Invalid, "%s is neither on nor off", VariableTwin).Advise("leave it out, or write off")
}

func (e *environment) readModule(env map[string]string) error {
	if e.text = env[variableString]; e.text != "" {
		if file := env[variableStringCA]; file != "" {
			pem, err := readFile(variableStringCA, file)
			if err != nil {
				return err
			}
			e.textCA = string(pem)
		}
		return nil
	}
	if env[variableWorkload] == "" {
		return nil
	}
	if scheme := env["IOTEDGE_AUTHSCHEME"]; scheme != "" && !strings.EqualFold(scheme, "sasToken") {
		return fault.New("virtualdevice.readEnvironment", fault.Invalid, "IOTEDGE_AUTHSCHEME is not sasToken").Advise("modules of IoT Edge prove themselves with tokens")
	}
	var err error
	if e.module, err = fromWorkload(env["IOTEDGE_IOTHUBHOSTNAME"], env["IOTEDGE_GATEWAYHOSTNAME"], env["IOTEDGE_DEVICEID"], env["IOTEDGE_MODULEID"]); err != nil {
		return err
	}
	e.workload, err = NewWorkload(env[variableWorkload], env["IOTEDGE_MODULEID"], env["IOTEDGE_MODULEGENERATIONID"])
	return err
}

func readFile(variable, name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fault.Newf("virtualdevice.readEnvironment", fault.Invalid, "the file of %s cannot be read: %v", variable, err).Because(err)
	}
	return b, nil
}

// Run plays the devices that variables, as os.Environ has them, say there are, and follows the module's twin where the process is a module. cfg.Roots
// and cfg.Workload are read from there too. It returns when ctx ends and all has ended. Invalid when the variables cannot be read, or say
// nothing at all.
func Run(ctx context.Context, cfg Config, variables []string, log *slog.Logger, clk clock.Clock) error {
	e, err := readEnvironment(variables)
	if err != nil {
		return err
	}
	if len(e.devices) == 0 && e.text == "" && e.workload == nil {
		return fault.New("virtualdevice.Run", fault.Invalid, "the environment names no virtual device, and this is no module of IoT Edge").
			Advise("set %s, %s or %sNAME; isthmus virtual-devices --help shows how", VariableDevices, VariableFile, VariableDevice)
	}
	cfg.Roots, cfg.Workload = e.roots, e.workload
	h := New(cfg, log, clk)
	m := &Module{h, e.devices, e.module, log.With("module", e.module.client()), clk}
	if e.text != "" {
		if m, err = NewModule(h, e.text, e.textCA, e.devices, log, clk); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.Run(ctx) })
	if e.text == "" && e.workload == nil {
		h.Set(e.devices)
	} else {
		g.Go(func() error { return m.Run(ctx) })
	}
	return g.Wait()
}
