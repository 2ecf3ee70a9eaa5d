"""``python -m depth_estimation_ros.doctor``."""

import sys

from depth_estimation_ros.doctor.command import main

sys.exit(main())
