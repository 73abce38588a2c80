package redact

// shapes returns the table. Sources: the issuers' documentation of their token
// formats, and the rules of gitleaks 8.
func shapes() []shape {
	var out []shape
	add := func(kind string, set *charset, least int, more func([]byte) bool, anchors ...string) {
		for _, a := range anchors {
			out = append(out, shape{kind: kind, anchor: a, match: prefixed(a, set, least, more)})
		}
	}
	for _, a := range []string{"AKIA", "ASIA", "ABIA", "ACCA"} {
		out = append(out, shape{kind: "aws_key", anchor: a, match: exactly(a, upperNum, 16)})
	}
	add("github_token", alnum, 36, nil, "ghp_", "gho_", "ghu_", "ghs_", "ghr_")
	add("github_token", word, 22, nil, "github_pat_")
	add("gitlab_token", wordDash, 20, nil, "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glffct-", "glagent-", "gloas-", "glft-", "glimt-")
	add("slack_token", wordDash, 10, hasDigit, "xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxc-", "xoxe-", "xoxe.xox", "xapp-")
	add("slack_token", newCharset("a-zA-Z0-9%/+=_-"), 20, hasDigit, "xoxd-")
	add("slack_webhook", newCharset("A-Za-z0-9/"), 30, nil, "hooks.slack.com/services/")
	add("stripe_key", alnum, 10, nil, "sk_live_", "rk_live_", "sk_test_", "rk_test_", "sk_prod_", "rk_prod_")
	add("stripe_key", alnum, 24, nil, "whsec_")
	add("anthropic_key", wordDash, 20, nil, "sk-ant-")
	add("openai_key", wordDash, 20, nil, "sk-proj-", "sk-svcacct-", "sk-admin-")
	// Without a dash: "sk-" begins the names of classes in style sheets, too.
	add("openai_key", alnum, 32, mixed, "sk-")
	add("google_key", wordDash, 35, nil, "AIza")
	add("google_key", wordDash, 24, nil, "GOCSPX-")
	add("google_key", wordDash, 20, mixed, "ya29.")
	add("npm_token", alnum, 36, nil, "npm_")
	add("pypi_token", wordDash, 50, nil, "pypi-AgE")
	add("digitalocean_token", hexDigits, 64, nil, "dop_v1_", "doo_v1_", "dor_v1_")
	add("huggingface_token", alnum, 30, nil, "hf_")
	add("shopify_token", hexDigits, 32, nil, "shpat_", "shpca_", "shppa_", "shpss_")
	add("docker_token", wordDash, 20, nil, "dckr_pat_", "dckr_oat_")
	add("linear_key", alnum, 32, nil, "lin_api_")
	add("groq_key", alnum, 40, nil, "gsk_")
	add("databricks_token", hexDigits, 32, nil, "dapi")
	add("vault_token", wordDash, 24, mixed, "hvs.", "hvb.")
	add("atlassian_token", newCharset("a-zA-Z0-9_=-"), 60, nil, "ATATT3", "ATCTT3", "ATSTT3")
	add("atlassian_token", alnum, 32, hasDigit, "ATBB")
	add("notion_token", alnum, 40, hasDigit, "ntn_")
	add("figma_token", wordDash, 36, hasDigit, "figd_", "figo_")
	add("supabase_key", hexDigits, 40, nil, "sbp_")
	add("supabase_key", wordDash, 22, hasDigit, "sb_secret_")
	add("doppler_token", newCharset("a-zA-Z0-9._-"), 40, mixed, "dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit.")
	add("pulumi_token", hexDigits, 40, nil, "pul-")
	add("heroku_key", wordDash, 50, hasDigit, "HRKU-AA")
	add("netlify_token", alnum, 36, nil, "nfp_")
	add("fly_token", newCharset("a-zA-Z0-9+/=_,-"), 60, hasDigit, "FlyV1 fm1r_", "FlyV1 fm2_", "FlyV1 fo1_", "fm1r_", "fm2_")
	add("gem_key", hexDigits, 48, nil, "rubygems_")
	add("artifactory_key", alnum, 60, mixed, "AKCp")
	add("perplexity_key", alnum, 40, mixed, "pplx-")
	add("xai_key", alnum, 60, mixed, "xai-")
	add("pinecone_key", word, 50, mixed, "pcsk_")
	add("langsmith_key", newCharset("a-f0-9_"), 40, nil, "lsv2_pt_", "lsv2_sk_")
	add("newrelic_key", upperNum, 27, hasDigit, "NRAK-")
	add("sentry_token", newCharset("a-zA-Z0-9+/=_"), 60, hasDigit, "sntryu_", "sntrys_")
	add("grafana_token", word, 40, hasDigit, "glsa_")
	add("grafana_token", newCharset("a-zA-Z0-9+/=_-"), 40, hasDigit, "glc_eyJ")
	add("hubspot_token", newCharset("a-f0-9-"), 36, hasDigit, "pat-na1-", "pat-na2-", "pat-eu1-")
	add("dropbox_token", wordDash, 100, mixed, "sl.", "sl.u.")
	add("planetscale_token", newCharset("a-zA-Z0-9._-"), 32, hasDigit, "pscale_tkn_", "pscale_pw_", "pscale_oauth_")
	add("brevo_key", newCharset("a-zA-Z0-9-"), 70, hasDigit, "xkeysib-", "xsmtpsib-")
	add("square_token", wordDash, 22, mixed, "sq0atp-", "sq0csp-")
	add("braintree_token", newCharset("a-z0-9$"), 40, hasDigit, "access_token$production$", "access_token$sandbox$")
	add("postman_key", newCharset("a-f0-9-"), 50, hasDigit, "PMAK-")
	add("onepassword_token", newCharset("a-zA-Z0-9=_-"), 100, nil, "ops_eyJ")
	add("linear_key", alnum, 32, nil, "lin_oauth_")
	return append(out, builtShapes()...)
}

// builtShapes are the shapes that are more than a prefix and a run.
func builtShapes() []shape {
	var out []shape
	for _, a := range discordAnchors() {
		out = append(out, shape{kind: "discord_token", anchor: a, match: matchDiscord})
	}
	for _, a := range []string{"$6$", "$5$", "$y$", "$apr1$", "$2a$", "$2b$", "$2y$", "$argon2i$", "$argon2id$"} {
		out = append(out, shape{kind: "password_hash", anchor: a, match: matchHash})
	}
	out = append(out,
		shape{kind: "notion_token", anchor: "secret_", match: exactly("secret_", alnum, 43)},
		shape{kind: "crates_token", anchor: "cio", match: exactly("cio", alnum, 32)},
		shape{kind: "replicate_token", anchor: "r8_", match: exactly("r8_", alnum, 37)},
		shape{kind: "twilio_key", anchor: "SK", match: exactly("SK", lowerHex, 32)},
		shape{kind: "mailgun_key", anchor: "key-", match: exactly("key-", lowerHex, 32)},
		shape{kind: "square_token", anchor: "EAAA", match: exactly("EAAA", wordDash, 60)},
		shape{kind: "twilio_key", anchor: "AC", match: matchTwilio},
		shape{kind: "mailgun_key", anchor: "mailgun", match: matchMailgun, around: true},
		shape{kind: "mailchimp_key", anchor: "-us", match: matchMailchimp},
		shape{kind: "resend_key", anchor: "re_", match: matchResend},
		shape{kind: "cloudflare_key", anchor: "v1.0-", match: matchCloudflare},
		shape{kind: "airtable_token", anchor: "pat", match: matchAirtable},
		shape{kind: "telegram_token", anchor: ":AA", match: matchTelegram},
		shape{kind: "discord_webhook", anchor: "/api/webhooks/", match: matchDiscordWebhook},
		shape{kind: "terraform_token", anchor: ".atlasv1.", match: matchTerraform},
		shape{kind: "firebase_key", anchor: ":APA91b", match: matchFirebase},
		shape{kind: "azure_secret", anchor: "Q~", match: matchAzureSecret},
		shape{kind: "url_signature", anchor: "sig=", match: matchSAS},
		shape{kind: "url_signature", anchor: "X-Amz-Signature=", match: matchSignature},
		shape{kind: "url_signature", anchor: "X-Goog-Signature=", match: matchSignature},
		shape{kind: "basic_auth", anchor: "_auth", match: matchNpmAuth},
		shape{kind: "basic_auth", anchor: `"auth`, match: matchDockerAuth, around: true},
		shape{kind: "json_web_key", anchor: `"kty`, match: matchJWK, around: true},
		shape{kind: "kubernetes_secret", anchor: "kind: Secret", match: matchKubernetes, around: true},
		shape{kind: "pgpass", anchor: ":5432:", match: matchPgpass, around: true},
		shape{kind: "pgpass", anchor: ":*:", match: matchPgpass, around: true},
		shape{kind: "private_key", anchor: "Private-Lines:", match: matchPuTTY, around: true},
		shape{kind: "wallet_words", anchor: "mnemonic", match: matchWallet},
		shape{kind: "wallet_words", anchor: "seed phrase", match: matchWallet},
		shape{kind: "wallet_words", anchor: "seed_phrase", match: matchWallet},
		shape{kind: "wallet_words", anchor: "recovery phrase", match: matchWallet},
		shape{kind: "sql_password", anchor: "identified by ", match: matchIdentifiedBy},
		shape{kind: "command_password", anchor: " -u ", match: matchCurlUser, around: true},
		shape{kind: "command_password", anchor: " --user ", match: matchCurlUser, around: true},
		shape{kind: "command_password", anchor: "sshpass -p", match: matchSSHPass},
		shape{kind: "command_password", anchor: " -p", match: matchMySQL, around: true},
		shape{kind: "command_password", anchor: "requirepass ", match: matchDirective, around: true},
		shape{kind: "command_password", anchor: "masterauth ", match: matchDirective, around: true},
	)
	return append(out,
		shape{kind: "age_key", anchor: "AGE-SECRET-KEY-1", match: prefixed("AGE-SECRET-KEY-1", alnum, 58, nil)},
		shape{kind: "sendgrid_key", anchor: "SG.", match: matchSendGrid},
		shape{kind: "jwt", anchor: "eyJ", match: matchJWT},
		shape{kind: "private_key", anchor: "-----BEGIN", match: matchPEM},
		shape{kind: "url_password", anchor: "://", match: matchURL},
		shape{kind: "bearer_token", anchor: "bearer ", match: matchBearer},
		shape{kind: "basic_auth", anchor: "basic ", match: matchBasic},
	)
}
