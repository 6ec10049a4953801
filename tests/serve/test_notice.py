"""What a replica's log says of a configuration is found there again, however the log is written."""

from __future__ import annotations

import json

from fusion_automl.serve.notice import notice, read_notice

CONFIG = {"models": [{"name": "houses", "path": "s3://b/2"}], "max_loaded": 4}


def test_faults_are_read_from_logs_in_words_and_json() -> None:
    faults = {"houses": 's3://b/2: "is" not\nserved: {}'}
    said = notice(CONFIG, faults)
    for line in (
        f"WARNING 2026-01-01 12:00:00,1 app x7 -- {said}",
        json.dumps({"levelname": "WARNING", "message": said}),
    ):
        assert read_notice(line, CONFIG) == faults
        assert read_notice(line, {**CONFIG, "max_loaded": 3}) is None
    assert read_notice(notice(CONFIG, {}), dict(reversed(CONFIG.items()))) == {}
    assert read_notice("[]", CONFIG) is read_notice("", CONFIG) is None
