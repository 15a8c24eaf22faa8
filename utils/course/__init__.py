"""What every notebook starts and ends with: environment, seeds, mode, claims and records; and where the course lives."""

from utils.course.address import BADGE, SETUP_CELL, colab_badge, home, notebook_paths, set_home, to_come, write_badges
from utils.course.notebook import Claim, by_mode, claim, claim_holds, device, record, seeds, set_seed, start
from utils.course.records import content_hash, dataset_folder, is_side_road, record_path
from utils.course.setup import check_environment, hosted
