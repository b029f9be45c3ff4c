package httpdoor_test

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func TestSettingsOfMessagesToDevices(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	service, owner := w.ServiceToken(hubtest.Contoso, hub.PolicyService), w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	const path = "/isthmus/v1/commands/settings"
	const defaults = `{"defaultTtlInSeconds":3600,"maxDeliveryCount":10,"lockDurationInSeconds":60,"feedbackTtlInSeconds":3600,"feedbackLockDurationInSeconds":60,` +
		`"feedbackMaxDeliveryCount":10,"feedbackDelayInSeconds":15}`
	if status, _, b := c.call("GET", path, service, ""); status != 200 || b != defaults {
		t.Errorf("%d %s", status, b)
	}
	for _, refused := range []struct {
		token, body string
		want        code.Code
	}{
		{service, `{"maxDeliveryCount":5}`, code.UnauthorizedAccess},
		{owner, `{"maxDeliveryCount":101}`, code.ArgumentInvalid},
		{owner, `{"maxDeliveries":5}`, code.ArgumentInvalid},
		{owner, `{`, code.ArgumentInvalid},
		{owner, ``, code.ArgumentInvalid},
	} {
		status, h, b := c.call("PATCH", path, refused.token, refused.body)
		checkEnvelope(t, status, h, b, refused.want)
	}
	changed := strings.Replace(defaults, `"maxDeliveryCount":10`, `"maxDeliveryCount":5`, 1)
	if status, _, b := c.call("PATCH", path, owner, `{"maxDeliveryCount":5}`); status != 200 || b != changed {
		t.Errorf("%d %s", status, b)
	}
	if status, _, b := c.call("GET", path, service, ""); status != 200 || b != changed {
		t.Errorf("%d %s", status, b)
	}
}
