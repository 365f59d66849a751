package app

import "time"

var tokenMetrics = []metric{
	counter("control_tokens_refused_total", "Bearer tokens of calls of the control API that were refused, by reason.",
		each(func(s *snapshot) map[string]uint64 { return s.tokensRefused }, plain), "reason"),
	gauge("token_keys", "Keys for tokens that were fetched last, by URL.",
		func(s *snapshot, emit func(float64, ...string)) {
			for _, k := range s.remoteKeys {
				emit(float64(k.Keys), k.URL)
			}
		}, "url"),
	gauge("token_keys_age_seconds", "Time since they were fetched, by URL; there is none before.",
		func(s *snapshot, emit func(float64, ...string)) {
			for _, k := range s.remoteKeys {
				if !k.Fetched.IsZero() {
					emit(time.Since(k.Fetched).Seconds(), k.URL)
				}
			}
		}, "url"),
	gauge("token_keys_failing", "1 while they cannot be fetched, by URL.",
		func(s *snapshot, emit func(float64, ...string)) {
			for _, k := range s.remoteKeys {
				emit(float64(oneIf(k.Error != nil)), k.URL)
			}
		}, "url"),
	counter("token_keys_fetched_total", "Times that they were fetched, by URL and result.",
		func(s *snapshot, emit func(float64, ...string)) {
			for _, k := range s.remoteKeys {
				emit(float64(k.OK), k.URL, "ok")
				emit(float64(k.Failed), k.URL, "failed")
			}
		}, "url", "result"),
}
