from perfagent.domain.knob import EffectiveConfig, Knob, Setting, Source

CONFIG = EffectiveConfig(
    {
        Knob.MAX_NUM_SEQS: Setting(8, Source.READ_BACK),
        Knob.MAX_NUM_BATCHED_TOKENS: Setting(2048, Source.FLAG),
        Knob.KV_CACHE_DTYPE: Setting("auto", Source.DEFAULT),
    }
)


def test_what_somebody_tells_stands_above_a_default_and_below_what_was_read_or_given() -> None:
    told = CONFIG.told(
        (
            (Knob.MAX_NUM_SEQS, 64),
            (Knob.MAX_NUM_BATCHED_TOKENS, 512),
            (Knob.KV_CACHE_DTYPE, "fp8"),
            (Knob.QUANTIZATION, "fp8"),
        )
    )
    assert told.value(Knob.MAX_NUM_SEQS) == 8
    assert told.value(Knob.MAX_NUM_BATCHED_TOKENS) == 2048
    assert told.settings[Knob.KV_CACHE_DTYPE] == Setting("fp8", Source.FLAG)
    assert told.settings[Knob.QUANTIZATION] == Setting("fp8", Source.FLAG)


def test_telling_nothing_changes_nothing() -> None:
    assert CONFIG.told(()) == CONFIG
