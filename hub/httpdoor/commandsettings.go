package httpdoor

const maxSettingsBody = 4 << 10

func getCommandSettings(x *exchange) error { return x.reply(x.hub.CommandSettings()) }

func patchCommandSettings(x *exchange) error {
	b, err := x.body(maxSettingsBody)
	if err != nil {
		return err
	}
	set, err := x.hub.ChangeCommandSettings(x.Context(), b, x.who())
	if err != nil {
		return err
	}
	return x.reply(set)
}
